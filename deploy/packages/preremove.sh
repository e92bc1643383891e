#!/bin/sh
# Not for an upgrade: deb says "upgrade", rpm 1.
set -eu
case ${1:-} in upgrade | 1) exit 0 ;; esac
[ -d /run/systemd/system ] || exit 0
systemctl disable --now atm-renew.timer atm-backup.timer atm-verify.timer atm-reconcile.timer
systemctl disable --now atm-monitor.service
systemctl disable --now atmserver.socket atmserver.service
