#!/bin/sh
# What deploy/compose.yaml needs before its first start, in the image of PostgreSQL. It can be
# run again: what is there stays.
#
#   setup.sh passwords   makes the passwords, and gives each file to the user that reads it
#   setup.sh authority   copies the certificate of the authority to where HAProxy reads it
set -eu
umask 077

# password FILE: a file that is there is whole, because it gets its name at the end.
password() {
	[ -s "$1" ] && return
	head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"$1.new"
	mv "$1.new" "$1"
}

case ${1:-} in
passwords)
	password /secrets/db/password
	password /secrets/grafana/password
	cp /secrets/db/password /secrets/atm/db-password
	chmod 400 /secrets/*/*
	chown -R 999:999 /secrets/db        # postgres
	chown -R 65532:65532 /secrets/atm   # nonroot, of the image of atmserver
	chown -R 472:0 /secrets/grafana     # grafana
	chmod 700 /secrets/*
	chown 65532:65532 /authority
	chmod 755 /authority
	;;
authority)
	waited=0
	until [ -s /data/atm-data/ca/ca.crt ]; do
		[ $((waited += 1)) -le 300 ] || { echo "setup.sh: the first replica makes no authority" >&2; exit 1; }
		sleep 1
	done
	cp /data/atm-data/ca/ca.crt /authority/ca.new
	chmod 644 /authority/ca.new
	mv /authority/ca.new /authority/ca.crt
	;;
*)
	echo "usage: setup.sh passwords|authority" >&2
	exit 2
	;;
esac
