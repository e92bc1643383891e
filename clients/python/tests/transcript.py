"""The transcript of the first page: URL of the server and folder of the credentials."""

import sys
from decimal import Decimal

from atm_client import Client, Refused

server, folder = sys.argv[1:]
with Client(server, ca=folder + "/ca.crt", cert=folder + "/client.crt",
            key=folder + "/client.key") as atm:
    print(atm.inquiry(100))
    first = atm.deposit(100, "1001", request_id='python "1"')
    assert atm.deposit(100, Decimal("1001.00"), request_id='python "1"') == first
    print(atm.inquiry(100))
    atm.withdraw(100, 392)
    print(atm.inquiry(100))
    assert atm.call("whoami").result["subject"] == "user:demo"
    try:
        atm.withdraw(100, 0.1)  # type: ignore[arg-type]
        sys.exit("an amount passed through a float")
    except TypeError:
        pass
    try:
        atm.withdraw(100, "999999.00")
    except Refused as no:
        print(no.code, no)
