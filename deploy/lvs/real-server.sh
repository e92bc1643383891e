#!/bin/sh
# Lets a replica take connections that a director hands on by direct routing: the
# machine has the shared address, and does not tell its neighbours so. Run it as root
# on every replica, at each boot; "stop" undoes it.
#
#   real-server.sh start 10.0.0.10
set -eu

usage() {
	echo "usage: real-server.sh start|stop ADDRESS" >&2
	exit 2
}

[ $# -eq 2 ] || usage
address=$2
case $1 in
start)
	sysctl -q -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
	ip address replace "$address/32" dev lo
	;;
stop)
	ip address del "$address/32" dev lo
	sysctl -q -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0
	;;
*)
	usage
	;;
esac
