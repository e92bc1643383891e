#!/bin/bash
# Makes images of this machine's PostgreSQL, HAProxy and Prometheus, for the test of
# deploy/compose.yaml where no registry is reached. They are no images to run a bank on.
#
#   standins.sh IMPORT COMMAND...   such as: standins.sh podman import
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: standins.sh podman import" >&2; exit 2; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
postgres=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 | sort -V | tail -n 1)
version=${postgres##*/}

mkdir -p "$root"/{etc,tmp,proc,sys,dev,run/postgresql,prometheus,var/lib/postgresql/data,usr/{bin,lib64,share/postgresql,local/etc/haproxy}}
for link in bin lib lib64 sbin; do ln -s "usr/$link" "$root/$link"; done
ln -s bin "$root/usr/sbin"
cp --parents -R "$postgres/bin" "$postgres/lib" "/usr/share/postgresql/$version" "$root"
ln -s "$postgres/bin/pg_isready" "$root/usr/bin/pg_isready"
programs=(/usr/bin/{dash,cat,cp,mv,head,base64,tr,chmod,chown,sleep,mkdir,prometheus} /usr/sbin/haproxy)
cp "${programs[@]}" "$root/usr/bin"
ln -s dash "$root/usr/bin/sh"
cp -R /usr/share/zoneinfo "$root/usr/share"
# What they and the modules of PostgreSQL are linked with.
find "${programs[@]}" "$postgres/bin" "$postgres/lib" -maxdepth 1 -type f \( -perm -1 -o -name '*.so' \) -print0 |
	xargs -0 ldd 2>/dev/null | grep -oE '/[^ ]+' | grep -v ':$' | sort -u | while read -r library; do
	mkdir -p "$root/usr/$(dirname "${library#/usr}")"
	cp -L "$library" "$root/usr/${library#/usr}"
done
printf 'root:x:0:0:root:/:/bin/sh\npostgres:x:999:999::/:/bin/sh\nhaproxy:x:99:99::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\npostgres:x:999:\nhaproxy:x:99:\n' >"$root/etc/group"
# As the entrypoint of the image that compose.yaml names, of which it uses this much.
cat >"$root/usr/bin/entrypoint" <<END
#!/bin/sh
set -eu
PATH=$postgres/bin:/usr/bin
if [ ! -s "\$PGDATA/PG_VERSION" ]; then
	initdb \$POSTGRES_INITDB_ARGS --username="\$POSTGRES_USER" --pwfile="\$POSTGRES_PASSWORD_FILE" --pgdata="\$PGDATA"
	echo "host all all all scram-sha-256" >>"\$PGDATA/pg_hba.conf"
	echo "CREATE DATABASE \$POSTGRES_DB" | postgres --single -D "\$PGDATA" postgres
fi
exec postgres -D "\$PGDATA" -c 'listen_addresses=*' -c unix_socket_directories=/run/postgresql
END
chmod 755 "$root/usr/bin/entrypoint" "$root"
chmod 1777 "$root/tmp" "$root/run/postgresql"
chown 65534:65534 "$root/prometheus"
chown 999:999 "$root/var/lib/postgresql/data"

tar -C "$root" -cf "$root.tar" .
trap 'rm -rf "$root" "$root.tar"' EXIT
"$@" --change 'ENTRYPOINT ["/usr/bin/entrypoint"]' --change 'STOPSIGNAL SIGINT' "$root.tar" localhost/postgres:standin
"$@" --change 'ENTRYPOINT ["/usr/sbin/haproxy","-W","-db","-f","/usr/local/etc/haproxy/haproxy.cfg"]' --change 'STOPSIGNAL SIGUSR1' "$root.tar" localhost/haproxy:standin
"$@" --change 'ENTRYPOINT ["/usr/bin/prometheus"]' "$root.tar" localhost/prometheus:standin
