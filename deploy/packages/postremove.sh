#!/bin/sh
# The data in /var/lib/private/atm stays, whatever is removed: it is money.
set -eu
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
