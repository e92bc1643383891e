#!/bin/sh
# User data of an EC2 instance: cloud-init runs this at the first boot of Amazon Linux 2023
# or Debian 12 and later, and the machine is an ATM server. Run again, it brings the
# programs to ATM_VERSION and leaves the data as it is.
#
# Nothing is unpacked whose signature was not verified. There is no secret in here: every
# program that may ask the metadata service can read it. The server makes its keys by itself; the
# operator's certificate is in /var/lib/atm/clients/operator, for an operator who comes by SSH.
set -eu
umask 022

# What to run. A release has these filled in (deploy/packages/release.sh).
: "${ATM_VERSION:=@VERSION@}"
: "${ATM_RELEASES:=@RELEASES@}" # URL of the folder with the files of the release
: "${ATM_SIGNER:=@SIGNER@}"     # public key of who signs releases: ssh-ed25519 AAAA…

# Other names and addresses for the certificate, besides those of the instance.
: "${ATM_HOSTS:=}"
# The metadata service, and the root of the file system, for tests.
: "${ATM_METADATA:=http://169.254.169.254}"
: "${ATM_ROOT:=}"

fail() {
	echo "ami-run.sh: $*; nothing was changed" >&2
	exit 1
}

say() { echo "ami-run.sh: $*"; }

[ "$(id -u)" = 0 ] || fail "it must be run by root"
case $ATM_VERSION in
*[!0-9.]* | '') fail "ATM_VERSION is \"$ATM_VERSION\", which is no version" ;;
esac
case $ATM_SIGNER in
ssh-ed25519\ *) ;;
*) fail "ATM_SIGNER is no ssh-ed25519 key" ;;
esac
for program in awk curl ssh-keygen sha256sum tar gzip systemctl; do
	command -v "$program" >/dev/null || fail "$program is missing"
done
case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) fail "there is no release for $(uname -m)" ;;
esac

# fetch URL FILE [MAXIMUM]
fetch() {
	curl -fsS --proto '=https,http,file' --retry 5 --retry-connrefused --max-time 300 --max-filesize "${3:-1000000}" -o "$2" "$1" ||
		fail "cannot fetch $1"
}

# The metadata service, version 2 only: a token first, which a confused proxy cannot get.
token=$(curl -fsS --retry 3 --retry-connrefused --max-time 10 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$ATM_METADATA/latest/api/token") ||
	fail "the metadata service gives no token (IMDSv2)"
[ -n "$token" ] || fail "the metadata service gives an empty token (IMDSv2)"

# metadata NAME prints what the service says, and nothing for what there is not.
metadata() {
	printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" | # not on a command line
		curl -fsS -K - --max-time 10 "$ATM_METADATA/latest/meta-data/$1" 2>/dev/null || true
}

hosts="localhost 127.0.0.1 ::1"
for name in local-hostname local-ipv4 public-hostname public-ipv4; do
	hosts="$hosts $(metadata "$name")"
done
list=
for host in $hosts $ATM_HOSTS; do
	case $host in
	*[!A-Za-z0-9.:-]*) fail "\"$host\" is no name or address of a host" ;;
	esac
	case $list in
	*"\"$host\""*) ;;
	*) list="$list${list:+, }\"$host\"" ;;
	esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
release=atm-$ATM_VERSION-linux-$arch
fetch "$ATM_RELEASES/SHA256SUMS" "$work/SHA256SUMS"
fetch "$ATM_RELEASES/SHA256SUMS.sig" "$work/SHA256SUMS.sig"
printf 'atm-release %s\n' "$ATM_SIGNER" >"$work/signers"
ssh-keygen -Y verify -f "$work/signers" -I atm-release -n atm-release -s "$work/SHA256SUMS.sig" <"$work/SHA256SUMS" >/dev/null 2>&1 ||
	fail "SHA256SUMS is not signed by ATM_SIGNER"
awk -v file="$release.tar.gz" '$2 == file' "$work/SHA256SUMS" >"$work/sum"
[ "$(wc -l <"$work/sum")" -eq 1 ] || fail "the release has no $release.tar.gz"
fetch "$ATM_RELEASES/$release.tar.gz" "$work/$release.tar.gz" 200000000
(cd "$work" && sha256sum -c --status sum) ||
	fail "$release.tar.gz is not the one that was signed"
mkdir "$work/unpacked"
tar -xzf "$work/$release.tar.gz" -C "$work/unpacked" --no-same-owner
from=$work/unpacked/$release
found=$("$from/bin/atmserver" --version) || fail "the programs of $release do not run here"
case $found in
*" $ATM_VERSION") ;;
*) fail "$release has the programs of another version: $found" ;;
esac

# From here on things change. Each file is whole before it has its name.
place() { # MODE FROM TO
	mkdir -p "$(dirname "$3")"
	install -m "$1" "$2" "$3.new"
	mv -f "$3.new" "$3"
}
for program in atmserver atmclient atmctl; do
	place 755 "$from/bin/$program" "$ATM_ROOT/usr/local/bin/$program"
done
for unit in atmserver.service atmserver.socket; do
	sed 's|/usr/bin/atmserver|/usr/local/bin/atmserver|' "$from/systemd/$unit" >"$work/$unit"
	place 644 "$work/$unit" "$ATM_ROOT/etc/systemd/system/$unit"
done
if [ ! -e "$ATM_ROOT/etc/atm/atmserver.toml" ]; then # afterwards it is the operator's
	cat >"$work/atmserver.toml" <<-END
		# The names and addresses that this instance had at its first boot.
		host = [$list]
		admin-listen = "127.0.0.1:9001"
	END
	place 644 "$work/atmserver.toml" "$ATM_ROOT/etc/atm/atmserver.toml"
fi

if [ -n "$ATM_ROOT" ]; then
	say "atmserver $ATM_VERSION is in $ATM_ROOT"
	exit 0
fi
systemctl daemon-reload
systemctl enable --quiet atmserver.socket atmserver.service
systemctl start atmserver.socket
# The socket stays meanwhile: who connects waits.
systemctl restart atmserver.service || {
	say "atmserver $ATM_VERSION is there and does not start: journalctl -u atmserver" >&2
	exit 1
}
say "atmserver $ATM_VERSION serves; the operator's certificate is in /var/lib/atm/clients/operator"
