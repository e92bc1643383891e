"""A deposit whose answer may be lost: URL of the server and folder of the credentials."""

import sys

from atm_client import Client

server, folder = sys.argv[1:]
with Client(server, ca=folder + "/ca.crt", cert=folder + "/client.crt",
            key=folder + "/client.key") as atm:
    print(atm.deposit(100, "12.50").result)
    print(atm.inquiry(100))
