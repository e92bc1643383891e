#!/bin/sh
# Puts the documentation of the packages into a folder, laid out as the sources are, so that
# a link from one page to another leads somewhere; and the licenses of what is linked.
set -eu
cd "$(dirname "$0")/../.."
to=${1:?usage: stage-doc.sh FOLDER}
git ls-files README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE 'docs/*.md' 'docs/*.png' 'docs/*.svg' examples \
	deploy/haproxy.cfg deploy/witness-policy.example deploy/prometheus/alerts.yml deploy/grafana \
	deploy/patroni deploy/lvs deploy/atm.ec2.sub deploy/ami-run.sh deploy/compose.yaml deploy/compose \
	deploy/chart deploy/kubernetes.yaml deploy/dynamodb deploy/test/standins.sh |
	while IFS= read -r file; do
		install -D -m 644 "$file" "$to/$file"
	done
chmod 755 "$to/examples/verify.py"
install -m 644 deploy/packages/copyright "$to/copyright"
install -D -m 644 "$(go env GOROOT)/LICENSE" "$to/licenses/go/LICENSE"
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' \
	./cmd/atmserver ./cmd/atmclient ./cmd/atmctl | sort -u |
	while read -r module dir; do
		for file in "$dir"/LICEN[CS]E* "$dir"/COPYING* "$dir"/NOTICE*; do
			[ ! -f "$file" ] || install -D -m 644 "$file" "$to/licenses/$module/${file##*/}"
		done
	done
