#!/bin/sh
# Move money with curl, signed in by client certificate.
#
# usage: atm.sh [URL [FOLDER]]
set -eu

url=${1:-https://localhost:9000/RPC2}
folder=${2:-atm-data/clients/demo}

# call METHOD PARAM... sends a call with strings for parameters, whose < and &
# are the caller's to escape.
call() {
	body="<methodCall><methodName>$1</methodName><params>"
	shift
	for param; do
		body="$body<param><value><string>$param</string></value></param>"
	done
	curl --silent --show-error --fail \
		--cacert "$folder/ca.crt" --cert "$folder/client.crt" --key "$folder/client.key" \
		--header 'Content-Type: text/xml' \
		--data-binary "$body</params></methodCall>" \
		"$url"
}

# member NAME prints a member of the answer on standard input. The server
# writes each value with its type and without space.
member() {
	sed -n "s|.*<name>$1</name><value><[a-z]*>\([^<]*\)<.*|\1|p"
}

request_id() {
	od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

echo "balance $(call inquiry 100 | member result)"

# The request id makes it safe to ask again when an answer got lost.
order=$(request_id)
first=$(call deposit 100 12.50 "$order")
echo "deposited 12.50, balance $(echo "$first" | member result)"
if [ "$(call deposit 100 12.50 "$order")" = "$first" ]; then
	echo "asked again, deposited once"
fi

echo "withdrew 12.50, balance $(call withdraw 100 12.50 "$(request_id)" | member result)"

# An operation that is refused answers; curl exits with 0.
echo "refused: $(call withdraw 100 1000000.00 "$(request_id)" | member reason)"

echo "fault $(call no_such_method | member faultCode)"
