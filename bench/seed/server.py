"""The server of 2013, as its design was: Python's XML-RPC server, plain HTTP,
balances in memory as floats, no authentication and no log."""

import sys
from xmlrpc.server import SimpleXMLRPCServer

balances = {number: 1000.0 for number in range(100, 200)}


def inquiry(account):
    if account not in balances:
        return {"status": "ERROR", "reason": "Unknown account %s" % account, "result": ""}
    return {"status": "OK", "reason": "", "result": str(balances[account])}


def deposit(account, amount):
    if account not in balances:
        return {"status": "ERROR", "reason": "Account %s was not found" % account, "result": ""}
    balances[account] += float(amount)
    return {"status": "OK", "reason": "", "result": str(balances[account])}


server = SimpleXMLRPCServer(("localhost", int(sys.argv[1])), logRequests=False)
server.register_function(inquiry)
server.register_function(deposit)
print("ready", flush=True)
server.serve_forever()
