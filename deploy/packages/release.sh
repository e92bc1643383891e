#!/bin/sh
# Builds a release into dist/: for each architecture of Linux a tarball, a deb and an rpm; the
# command lines for each other system, as a zip for Windows and a tarball for macOS; SBOMs of
# the programs, user data for EC2, and SHA256SUMS, signed when a key is given. The same sources
# make the same bytes, in whatever folder and at whatever time.
#
#   release.sh VERSION [SIGNING-KEY [URL]]
#
# URL is where the files of the release are going to be. ARCHITECTURES and DESKTOPS in the
# environment name fewer systems.
set -eu
cd "$(dirname "$0")/../.."
version=${1:?usage: release.sh VERSION [SIGNING-KEY [URL]]}
key=${2:-}
url=${3:-https://example.com/atm/$version}
case $version in
[0-9]*.[0-9]*.[0-9]*) ;;
*) echo "release.sh: $version is no version such as 1.2.3" >&2 && exit 2 ;;
esac
desktops=${DESKTOPS-windows/amd64 darwin/arm64 darwin/amd64}
case $desktops in
*windows*) command -v zip >/dev/null || { echo "release.sh: a release for Windows needs zip" >&2 && exit 2; } ;;
esac

# The time in everything is that of the last commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
mtime=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
export SOURCE_DATE_EPOCH
revision=$(git describe --always --dirty --abbrev=40 --exclude '*')
of=example.com/atm/cmd/internal/version
export CGO_ENABLED=0 GOFLAGS=-trimpath GOTOOLCHAIN=local

# compile OS ARCH FOLDER PROGRAM… GOGC makes the compiler collect garbage half as often, which
# saves a fifth of its time.
compile() {
	os=$1 arch=$2 to=$3
	shift 3
	for program; do
		set -- "$@" "./cmd/$program"
		shift
	done
	mkdir -p "$to"
	GOOS=$os GOARCH=$arch GOGC=200 go build -buildvcs=false -ldflags "-s -w -buildid= -X $of.released=$version -X $of.revision=$revision" \
		-o "$to/" "$@"
}

# sbom OS ARCH PROGRAM FILE lists what is linked. It has no serial number and no time, which would
# differ from build to build.
sbom() {
	GOOS=$1 GOARCH=$2 .tools/cyclonedx-gomod app -json -noserial -licenses=false -main "cmd/$3" -output - . |
		grep -v '"timestamp"' >"$4"
}

# completions FOLDER PROGRAM…
completions() {
	to=$1
	shift
	mkdir -p "$to/bash" "$to/zsh" "$to/fish"
	for program; do
		"$stage/here/$program" completion bash >"$to/bash/$program"
		"$stage/here/$program" completion zsh >"$to/zsh/_$program"
		"$stage/here/$program" completion fish >"$to/fish/$program.fish"
	done
}

# pack NAME makes a tarball of a folder of the stage.
pack() {
	find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX -C "$stage" -cf - "$1" |
		gzip -n >"dist/$1.tar.gz"
}

# pack_zip NAME makes a zip of a folder of the stage. Its times have no zone: they are in UTC.
pack_zip() {
	find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	chmod -R u+rw,go=rX "$stage/$1"
	archive=$PWD/dist/$1.zip
	(cd "$stage" && find "$1" -type f | LC_ALL=C sort | TZ=UTC zip -q -X "$archive" -@)
}

rm -rf dist
mkdir -p dist
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
# For completions, which are the same on each system.
host=$(go env GOHOSTOS)/$(go env GOHOSTARCH)
compile "${host%/*}" "${host#*/}" "$stage/here" atmserver atmclient atmctl
for arch in ${ARCHITECTURES:-amd64 arm64}; do
	dir=$stage/atm-$version-linux-$arch
	mkdir -p "$dir/bin" "$dir/systemd" "$dir/lib" "$dir/doc" "$dir/man"
	if [ "linux/$arch" = "$host" ]; then
		cp "$stage/here/"* "$dir/bin/"
	else
		compile linux "$arch" "$dir/bin" atmserver atmclient atmctl
	fi
	install -m 644 deploy/systemd/*.service deploy/systemd/*.socket deploy/systemd/*.timer "$dir/systemd/"
	install -m 755 deploy/systemd/atm-backup "$dir/lib/"
	install -m 644 deploy/packages/atmserver.toml deploy/packages/timers.env deploy/packages/monitor.toml "$dir/"
	GOOS=linux GOARCH=$arch deploy/packages/stage-doc.sh "$dir/doc"
	for page in docs/reference/*.1; do
		gzip -n -9 <"$page" >"$dir/man/${page##*/}.gz"
	done
	completions "$dir/completion" atmserver atmclient atmctl
	pack "atm-$version-linux-$arch"
	sed -e "s|@ARCH@|$arch|" -e "s|@VERSION@|$version|" -e "s|@MTIME@|$mtime|" -e "s|@STAGE@|$dir|" deploy/packages/nfpm.yaml >"$stage/nfpm.yaml"
	for kind in deb rpm; do
		.tools/nfpm package --config "$stage/nfpm.yaml" --packager "$kind" --target dist/ >/dev/null
	done
done

for desktop in $desktops; do
	os=${desktop%/*} arch=${desktop#*/}
	system=$os
	[ "$os" != darwin ] || system=macos
	name=atm-$version-$system-$arch
	dir=$stage/$name
	compile "$os" "$arch" "$dir/bin" atmclient atmctl
	GOOS=$os GOARCH=$arch deploy/packages/stage-doc.sh "$dir/doc"
	install -m 644 LICENSE "$dir/"
	sbom "$os" "$arch" atmctl "dist/$name.cdx.json"
	completions "$dir/completion" atmclient atmctl
	if [ "$os" = windows ]; then
		pack_zip "$name"
		continue
	fi
	mkdir -p "$dir/man"
	for page in docs/reference/atmclient.1 docs/reference/atmctl.1; do
		gzip -n -9 <"$page" >"$dir/man/${page##*/}.gz"
	done
	pack "$name"
done

sbom linux amd64 atmserver "dist/atm-$version.cdx.json"
signer=
if [ -n "$key" ]; then
	signer=$(ssh-keygen -y -f "$key" | cut -d ' ' -f 1,2)
fi
sed -e "s|@VERSION@|$version|" -e "s|@RELEASES@|$url|" -e "s|@SIGNER@|$signer|" deploy/ami-run.sh >dist/ami-run.sh
(cd dist && sha256sum -- * >SHA256SUMS)
if [ -n "$key" ]; then
	ssh-keygen -q -Y sign -f "$key" -n atm-release dist/SHA256SUMS
fi
