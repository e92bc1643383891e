#!/bin/bash
# Builds the container image of atmserver, with atmctl in it, as an OCI archive in dist/,
# without a daemon, a registry or root: an image is a few JSON documents and tar files, each
# under its SHA-256. The same sources, Go and ca-certificates make the same bytes.
#
#   build.sh VERSION [SIGNING-KEY]
#
# Beside atm-VERSION-image-ARCH.tar are its SBOM and image.SHA256SUMS, signed when a key is
# given as release.sh signs a release.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=${1:?usage: build.sh VERSION [SIGNING-KEY]}
key=${2:-}
case $version in
[0-9]*.[0-9]*.[0-9]*) ;;
*) echo "build.sh: $version is no version such as 1.2.3" >&2 && exit 2 ;;
esac
authorities=${ATM_AUTHORITIES:-/etc/ssl/certs/ca-certificates.crt}
[ -s "$authorities" ] || { echo "build.sh: $authorities is missing: install ca-certificates" >&2; exit 1; }

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) # the time in everything
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
revision=$(git describe --always --dirty --abbrev=40 --exclude '*')
of=example.com/atm/cmd/internal/version
user=65532 # nonroot, as in distroless images
export SOURCE_DATE_EPOCH CGO_ENABLED=0 GOFLAGS=-trimpath GOTOOLCHAIN=local LC_ALL=C

mkdir -p dist
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
# archive FOLDER: a tar of it that depends on nothing but its content.
archive() {
	tar --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner "${@:2}" -C "$1" -cf - .
}
sum() { sha256sum "$1" | cut -d ' ' -f 1; }
# blob FILE: moves it to where its hash says, and prints the hash.
blob() {
	local hash
	hash=$(sum "$1")
	mv "$1" "$layout/blobs/sha256/$hash"
	echo "$hash"
}

for arch in ${ARCHITECTURES:-amd64 arm64}; do
	root=$stage/root-$arch layout=$stage/layout-$arch
	mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/data" "$layout/blobs/sha256"
	GOOS=linux GOARCH=$arch go build -buildvcs=false -tags image \
		-ldflags "-s -w -buildid= -X $of.released=$version -X $of.revision=$revision" -o "$root/usr/bin/atmserver" ./cmd/atmserver
	ln -s atmserver "$root/usr/bin/atmctl"
	install -m 644 "$authorities" "$root/etc/ssl/certs/ca-certificates.crt"
	install -m 644 LICENSE "$root/usr/LICENSE"
	printf 'root:x:0:0:root:/:/\nnonroot:x:%s:%s:atmserver:/data:/\n' $user $user >"$root/etc/passwd"
	printf 'root:x:0:\nnonroot:x:%s:\n' $user >"$root/etc/group"
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts" # engines write their own
	printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
	find "$root" -type d -exec chmod 755 {} +
	# Everything is root's and nobody else's to change; the volume is the server's.
	archive "$root" --exclude=./data --owner=0 --group=0 >"$stage/layer.tar"
	chmod 700 "$root/data"
	(cd "$root" && tar --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=$user --group=$user -rf "$stage/layer.tar" ./data)
	diff=$(sum "$stage/layer.tar")
	gzip -n "$stage/layer.tar"
	size=$(stat -c %s "$stage/layer.tar.gz")
	layer=$(blob "$stage/layer.tar.gz")

	# OCI has no probe of its own; Docker reads Healthcheck, and Podman --health-cmd.
	cat >"$stage/config.json" <<-END
		{"created":"$created","author":"The ATM authors","architecture":"$arch","os":"linux",
		"config":{"User":"$user:$user","ExposedPorts":{"9000/tcp":{}},"WorkingDir":"/data",
		"Env":["PATH=/usr/bin","HOME=/data","TMPDIR=/data","ATM_DATA=/data/atm-data","ATM_LISTEN=:9000","ATM_LOG_FORMAT=json"],
		"Entrypoint":["/usr/bin/atmserver"],"Volumes":{"/data":{}},"StopSignal":"SIGTERM",
		"Healthcheck":{"Test":["CMD","/usr/bin/atmctl","ready"],"Interval":10000000000,"Timeout":5000000000,"StartPeriod":30000000000,"Retries":3},
		"Labels":{"org.opencontainers.image.title":"atm","org.opencontainers.image.version":"$version",
		"org.opencontainers.image.revision":"$revision","org.opencontainers.image.licenses":"Apache-2.0"}},
		"rootfs":{"type":"layers","diff_ids":["sha256:$diff"]},
		"history":[{"created":"$created","created_by":"deploy/image/build.sh $version"}]}
	END
	config_size=$(stat -c %s "$stage/config.json")
	config=$(blob "$stage/config.json")
	kind=application/vnd.oci.image
	cat >"$stage/manifest.json" <<-END
		{"schemaVersion":2,"mediaType":"$kind.manifest.v1+json",
		"config":{"mediaType":"$kind.config.v1+json","digest":"sha256:$config","size":$config_size},
		"layers":[{"mediaType":"$kind.layer.v1.tar+gzip","digest":"sha256:$layer","size":$size}]}
	END
	manifest_size=$(stat -c %s "$stage/manifest.json")
	manifest=$(blob "$stage/manifest.json")
	cat >"$layout/index.json" <<-END
		{"schemaVersion":2,"mediaType":"$kind.index.v1+json","manifests":[
		{"mediaType":"$kind.manifest.v1+json","digest":"sha256:$manifest","size":$manifest_size,
		"platform":{"architecture":"$arch","os":"linux"},
		"annotations":{"org.opencontainers.image.ref.name":"localhost/atm:$version","io.containerd.image.name":"localhost/atm:$version"}}]}
	END
	printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
	archive "$layout" --owner=0 --group=0 --mode=u+rw,go=rX >"dist/atm-$version-image-$arch.tar"
	echo "linux/$arch sha256:$manifest $((size / 1000000)) MB, $(($(stat -c %s "$root/usr/bin/atmserver") / 1000000)) MB unpacked"
done
# Without a serial number and a time, which would differ from build to build.
GOFLAGS="-trimpath -tags=image" .tools/cyclonedx-gomod app -json -noserial -licenses=false -main cmd/atmserver -output - . |
	grep -v '"timestamp"' >"dist/atm-$version-image.cdx.json"
(cd dist && sha256sum -- "atm-$version-image"* >image.SHA256SUMS)
if [ -n "$key" ]; then
	ssh-keygen -q -Y sign -f "$key" -n atm-release dist/image.SHA256SUMS
fi
