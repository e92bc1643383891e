#!/bin/bash
# The whole way, on one machine without a network: condor_submit starts an instance at a
# fake EC2, which boots a Debian tree under systemd-nspawn; cloud-init runs ami-run.sh; that
# verifies and installs a signed release; systemd starts the server; the transcript of the
# README is held from outside; the server is restarted under load; condor_rm ends it all.
#
# Needs root, and what make deploy-test installs. The trees are built once and kept in
# $ATM_TREES (default: ~/.cache/atm-deploy-test).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
trees=${ATM_TREES:-${XDG_CACHE_HOME:-$HOME/.cache}/atm-deploy-test}
mkdir -p "$trees"
[ -f "$trees/guest.tar" ] || mmdebstrap --quiet --variant=minbase \
	--include=systemd-sysv,cloud-init,ca-certificates,curl,openssh-client,iproute2,dbus,procps bookworm "$trees/guest.tar"
[ -f "$trees/condor.tar" ] || mmdebstrap --quiet --variant=minbase --include=condor,iproute2,procps trixie "$trees/condor.tar"

work=$(mktemp -d /var/tmp/atm-live-XXXXXX)
pids=()
cleanup() {
	status=$?
	set +e
	[ $status -eq 0 ] || { tail -n 20 "$work"/*.log; grep ami-run "$work/guest/var/log/cloud-init-output.log"; }
	pkill -f -- "^systemd-nspawn -q -D $work/guest"
	for pid in "${pids[@]}"; do pkill -KILL -P "$pid"; kill -KILL "$pid" 2>/dev/null; done
	sleep 1
	umount -l "$work/condor/proc" "$work/condor/dev" 2>/dev/null
	ip netns del atm-h 2>/dev/null
	ip netns del atm-c 2>/dev/null
	rm -rf --one-file-system "$work"
	exit $status
}
trap cleanup EXIT
say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }
until_ok() { # SECONDS WHAT COMMAND…
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "live.sh: $what did not happen" >&2; exit 1; }
		sleep 0.3
	done
}

mkdir "$work/guest" "$work/condor" "$work/out"
tar -xf "$trees/guest.tar" -C "$work/guest"
tar -xf "$trees/condor.tar" -C "$work/condor"
say "trees unpacked"

ssh-keygen -q -t ed25519 -N '' -C '' -f "$work/key"
ARCHITECTURES=amd64 DESKTOPS="" "$root/deploy/packages/release.sh" 0.1.0 "$work/key" http://10.77.0.1:8000
cp -r "$root/dist" "$work/dist"
# The metadata service has another address here than on EC2.
sed '2i export ATM_METADATA=http://10.77.0.1:8001' "$work/dist/ami-run.sh" >"$work/user-data"
(cd "$root" && go build -o "$work/bin/" ./cmd/...)
say "release built and signed"

# Two machines: atm-h is the outside, atm-c the instance.
ip netns add atm-h
ip netns add atm-c
ip -n atm-h link add vh type veth peer name host0 netns atm-c
ip -n atm-h addr add 10.77.0.1/24 dev vh
ip -n atm-c addr add 10.77.0.2/24 dev host0
for n in atm-h atm-c; do ip -n $n link set lo up; done
ip -n atm-h link set vh up
ip -n atm-c link set host0 up
outside=(ip netns exec atm-h)
"${outside[@]}" python3 -m http.server 8000 --bind 10.77.0.1 --directory "$work/dist" >"$work/http.log" 2>&1 &
pids+=($!)
"${outside[@]}" python3 "$here/fake-imdsv2.py" 10.77.0.1 8001 "$work/user-data" >"$work/imds.log" 2>&1 &
pids+=($!)
# In a network namespace /sys is another one, without the control groups.
boot="nsenter -t $$ -m -n -- bash $here/nspawn-boot.sh $work/guest $work/out/user-data $work/nspawn.log"
"${outside[@]}" python3 "$here/fake-ec2.py" 10.77.0.1 8002 "$work/out" "$boot" "pkill -f -- '^systemd-nspawn -q -D $work/guest'" >"$work/ec2.log" 2>&1 &
pids+=($!)

# HTCondor, with a user of its own.
condor=$work/condor
: >"$condor/etc/resolv.conf"
echo "127.0.0.1 localhost $(hostname)" >"$condor/etc/hosts"
install -m 644 "$here/condor-99-test.conf" "$condor/etc/condor/config.d/99-test.conf"
chroot "$condor" useradd -m -s /bin/sh alice
mkdir -p "$condor/home/alice/.aws"
for key in access-key-id secret-access-key; do echo AKIDEXAMPLE >"$condor/home/alice/.aws/atm-$key"; done
cp "$root/deploy/atm.ec2.sub" "$condor/home/alice/"
cp "$work/user-data" "$condor/home/alice/ami-run.sh"
chroot "$condor" chown -R alice: /home/alice
chroot "$condor" chmod -R go= /home/alice/.aws
mount -t proc proc "$condor/proc"
mount --bind /dev "$condor/dev"
as_alice() { "${outside[@]}" chroot "$condor" su alice -c "cd && $*"; }
as_alice condor_submit -dry-run - atm.ec2.sub >"$work/dry.log" 2>&1
! grep -i warning "$work/dry.log" || exit 1
"${outside[@]}" unshare --pid --fork --kill-child chroot "$condor" condor_master -f >"$work/condor.log" 2>&1 &
pids+=($!)
until_ok 60 "HTCondor" as_alice condor_q
say "HTCondor serves"

submitted=$SECONDS
as_alice condor_submit ATM_ENDPOINT=http://10.77.0.1:8002/ atm.ec2.sub
until_ok 300 "the server" "${outside[@]}" curl -fsk --max-time 2 https://10.77.0.2:9000/readyz
say "the server is ready, $((SECONDS - submitted)) s after condor_submit"
grep -q '"MetadataOptions.HttpTokens": "required"' "$work/out/calls.log"

# The transcript, from outside.
demo=$work/guest/var/lib/private/atm/clients/demo
client() { "${outside[@]}" "$work/bin/atmclient" --ca "$demo/ca.crt" --cert "$demo/client.crt" --key "$demo/client.key" 10.77.0.2 9000 "$@"; }
hold() { # WANT COMMAND…
	local want=$1 got
	shift
	got=$("$@")
	[ "$got" = "$want" ] || { echo "live.sh: $* printed \"$got\", not \"$want\"" >&2; exit 1; }
	echo "      $got"
}
# shellcheck disable=SC2016 # these are dollars
{
	hold 'Current value of account 100 is $1000.00' client inquiry 100
	hold 'Successful deposit of $1001.00 to account 100' client deposit 100 1001
	hold 'Current value of account 100 is $2001.00' client inquiry 100
	hold 'Successful withdraw of $392.00 to account 100' client withdraw 100 392
	hold 'Current value of account 100 is $1609.00' client inquiry 100
}
operator=$work/guest/var/lib/private/atm/clients/operator
control() { "${outside[@]}" "$work/bin/atmctl" --server https://10.77.0.2:9000 --ca "$operator/ca.crt" --cert "$operator/client.crt" --key "$operator/client.key" "$@"; }
control audit verify https://10.77.0.2:9000/audit/ --vkey "$work/guest/var/lib/private/atm/audit/log.vkey"
say "the transcript holds"

# Restarts under load: the socket stays.
inside() { nsenter -t "$(pgrep -P "$(pgrep -f -- "^systemd-nspawn -q -D $work/guest" | head -1)" | head -1)" -a "$@"; }
inside systemd-analyze security atmserver --no-pager | tail -1
"${outside[@]}" python3 "$here/load.py" 10.77.0.2 9000 "$demo" 5000 >"$work/load.log" &
load=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
	sleep 0.7
	inside systemctl restart atmserver.service
done
wait $load
tail -1 "$work/load.log"
say "ten restarts under load"

as_alice condor_rm -all
until_ok 60 "TerminateInstances" grep -q TerminateInstances "$work/out/calls.log"
until_ok 60 "the end of the instance" sh -c "! pgrep -f -- '^systemd-nspawn -q -D $work/guest'"
say "condor_rm has terminated it"

# The deb, on a machine of its own.
rm -rf --one-file-system "$work/guest"
mkdir "$work/guest"
tar -xf "$trees/guest.tar" -C "$work/guest"
cp "$work/dist/atm_0.1.0_amd64.deb" "$work/guest/root/"
ARCHITECTURES=amd64 DESKTOPS="" "$root/deploy/packages/release.sh" 0.2.0 "$work/key" http://10.77.0.1:8000
cp "$root/dist/atm_0.2.0_amd64.deb" "$work/guest/root/"
printf '#!/bin/sh\n' >"$work/out/nothing"
rm -f "$work/nspawn.log"
bash "$here/nspawn-boot.sh" "$work/guest" "$work/out/nothing" "$work/nspawn.log" &
pids+=($!)
until_ok 60 "the second boot" inside systemctl is-active --quiet multi-user.target
say "a second machine is up"
version() { inside /usr/bin/atmserver --version; }
ready() { until_ok 60 "the server" "${outside[@]}" curl -fsk --max-time 2 https://10.77.0.2:9000/readyz; }
inside dpkg -i /root/atm_0.1.0_amd64.deb >/dev/null
printf 'admin-listen = "127.0.0.1:9001"\nhost = ["localhost", "10.77.0.2"]\n' >"$work/guest/etc/atm/atmserver.toml"
inside systemctl enable --quiet --now atmserver.socket atmserver.service
ready
version
"${outside[@]}" python3 "$here/load.py" 10.77.0.2 9000 "$demo" 5000 >"$work/load.log" &
load=$!
sleep 3
inside dpkg -i /root/atm_0.2.0_amd64.deb >/dev/null
version
sleep 3
inside dpkg -i --force-downgrade /root/atm_0.1.0_amd64.deb >/dev/null 2>&1
version
wait $load
tail -1 "$work/load.log"
say "upgraded and rolled back under load"
before=$(client inquiry 100)
inside dpkg -r atm >/dev/null
[ ! -e "$work/guest/usr/bin/atmserver" ]
[ -s "$work/guest/var/lib/private/atm/vault.db" ]
inside dpkg -i /root/atm_0.2.0_amd64.deb >/dev/null
inside systemctl enable --quiet --now atmserver.socket atmserver.service
ready
hold "$before" client inquiry 100
grep -q '10.77.0.2' "$work/guest/etc/atm/atmserver.toml" # the operator's, still
say "removed and put back: the data is where it was"
