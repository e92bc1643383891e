#!/bin/sh
# Builds a release into dist/: for each architecture a tarball, a deb and an rpm, an SBOM
# of the programs, user data for EC2, and SHA256SUMS, signed when a key is given. The same
# sources make the same bytes, in whatever folder and at whatever time.
#
#   release.sh VERSION [SIGNING-KEY [URL]]
#
# URL is where the files of the release are going to be.
set -eu
cd "$(dirname "$0")/../.."
version=${1:?usage: release.sh VERSION [SIGNING-KEY [URL]]}
key=${2:-}
url=${3:-https://example.com/atm/$version}
case $version in
[0-9]*.[0-9]*.[0-9]*) ;;
*) echo "release.sh: $version is no version such as 1.2.3" >&2 && exit 2 ;;
esac

# The time in everything is that of the last commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
mtime=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
export SOURCE_DATE_EPOCH
revision=$(git describe --always --dirty --abbrev=40 --exclude '*')
of=example.com/atm/cmd/internal/version
export CGO_ENABLED=0 GOFLAGS=-trimpath GOTOOLCHAIN=local

rm -rf dist
mkdir -p dist
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
for arch in ${ARCHITECTURES:-amd64 arm64}; do
	dir=$stage/atm-$version-linux-$arch
	mkdir -p "$dir/bin" "$dir/systemd" "$dir/lib" "$dir/doc" "$dir/man" "$dir/completion/bash" "$dir/completion/zsh" "$dir/completion/fish"
	for program in atmserver atmclient atmctl; do
		GOOS=linux GOARCH=$arch go build -buildvcs=false -ldflags "-s -w -buildid= -X $of.released=$version -X $of.revision=$revision" \
			-o "$dir/bin/$program" "./cmd/$program"
	done
	install -m 644 deploy/systemd/*.service deploy/systemd/*.socket deploy/systemd/*.timer "$dir/systemd/"
	install -m 755 deploy/systemd/atm-backup "$dir/lib/"
	install -m 644 deploy/packages/atmserver.toml deploy/packages/timers.env deploy/packages/monitor.toml "$dir/"
	GOOS=linux GOARCH=$arch deploy/packages/stage-doc.sh "$dir/doc"
	for page in docs/reference/*.1; do
		gzip -n -9 <"$page" >"$dir/man/${page##*/}.gz"
	done
	for program in atmserver atmclient atmctl; do
		go run -buildvcs=false "./cmd/$program" completion bash >"$dir/completion/bash/$program"
		go run -buildvcs=false "./cmd/$program" completion zsh >"$dir/completion/zsh/_$program"
		go run -buildvcs=false "./cmd/$program" completion fish >"$dir/completion/fish/$program.fish"
	done
	find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX -C "$stage" -cf - "atm-$version-linux-$arch" |
		gzip -n -9 >"dist/atm-$version-linux-$arch.tar.gz"
	sed -e "s|@ARCH@|$arch|" -e "s|@VERSION@|$version|" -e "s|@MTIME@|$mtime|" -e "s|@STAGE@|$dir|" deploy/packages/nfpm.yaml >"$stage/nfpm.yaml"
	for kind in deb rpm; do
		.tools/nfpm package --config "$stage/nfpm.yaml" --packager "$kind" --target dist/ >/dev/null
	done
done
# Without a serial number and a time, which would differ from build to build.
.tools/cyclonedx-gomod app -json -noserial -licenses=false -main cmd/atmserver -output - . |
	grep -v '"timestamp"' >"dist/atm-$version.cdx.json"
signer=
if [ -n "$key" ]; then
	signer=$(ssh-keygen -y -f "$key" | cut -d ' ' -f 1,2)
fi
sed -e "s|@VERSION@|$version|" -e "s|@RELEASES@|$url|" -e "s|@SIGNER@|$signer|" deploy/ami-run.sh >dist/ami-run.sh
(cd dist && sha256sum -- * >SHA256SUMS)
if [ -n "$key" ]; then
	ssh-keygen -q -Y sign -f "$key" -n atm-release dist/SHA256SUMS
fi
