#!/usr/bin/env python3
"""Move money with Python's own xmlrpc.client, signed in by client certificate.

usage: atm.py [URL [FOLDER]]
"""

import ssl
import sys
import uuid
import xmlrpc.client

url = sys.argv[1] if len(sys.argv) > 1 else "https://localhost:9000/RPC2"
folder = sys.argv[2] if len(sys.argv) > 2 else "atm-data/clients/demo"

tls = ssl.create_default_context(cafile=f"{folder}/ca.crt")
tls.load_cert_chain(f"{folder}/client.crt", f"{folder}/client.key")

with xmlrpc.client.ServerProxy(url, context=tls) as atm:
    print("balance", atm.inquiry(100)["result"])

    # The request id makes it safe to ask again when an answer got lost.
    order = str(uuid.uuid4())
    first = atm.deposit(100, "12.50", order)
    print("deposited 12.50, balance", first["result"])
    if atm.deposit(100, "12.50", order) == first:
        print("asked again, deposited once")

    print("withdrew 12.50, balance", atm.withdraw(100, "12.50", str(uuid.uuid4()))["result"])

    # An operation that is refused answers; it does not raise.
    refused = atm.withdraw(100, "1000000.00", str(uuid.uuid4()))
    print("refused:", refused["reason"])

    try:
        atm.no_such_method()
    except xmlrpc.client.Fault as fault:
        print("fault", fault.faultCode)
