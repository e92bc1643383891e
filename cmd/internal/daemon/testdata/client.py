"""Everything that Python's standard library can do with the server."""
import ssl
import sys
import xmlrpc.client

url, credentials = sys.argv[1:]
context = ssl.create_default_context(cafile=credentials + "/ca.crt")
context.load_cert_chain(credentials + "/client.crt", credentials + "/client.key")
atm = xmlrpc.client.ServerProxy(url.replace("127.0.0.1", "localhost"), context=context)


def check(got, want):
    if got != want:
        sys.exit(f"got {got!r}, want {want!r}")


def done(status, result):
    check((status["status"], status["reason"], status["code"], status["result"]), ("OK", "", "OK", result))
    index, leaf = status["receipt"].split(" ")
    check((index.isdigit(), len(leaf)), (True, 44))


done(atm.inquiry(100), "1000.00")
done(atm.deposit(100, 25.5), "1025.50")
done(atm.deposit(100, "0.78", "request 1"), "1026.28")
done(atm.withdraw("100", 26), "1000.28")
status = atm.withdraw(100, 1e6)
check((status["status"], status["reason"], status["result"]), ("ERROR", "Insufficient Funds", ""))
check(atm.inquiry(4711)["reason"], "Unknown account 4711")
check(atm.whoami()["result"]["subject"], "user:demo")

calls = xmlrpc.client.MultiCall(atm)
calls.deposit(100, 1)
calls.inquiry(100)
calls.no_such_method()
results = calls()
done(results[0], "1001.28")
done(results[1], "1001.28")
try:
    results[2]
    sys.exit("an unknown method was found")
except xmlrpc.client.Fault as fault:
    check(fault.faultCode, -32601)

methods = atm.system.listMethods()
for method in ("deposit", "inquiry", "withdraw", "whoami", "system.multicall", "system.getCapabilities"):
    check(method in methods, True)
check("balance" in atm.system.methodHelp("inquiry"), True)
check(["struct", "int"] in atm.system.methodSignature("inquiry"), True)
check(atm.system.getCapabilities()["xmlrpc"]["specVersion"], 1)
for call, code in ((lambda: atm.nothing(), -32601), (lambda: atm.system.methodHelp("nothing"), -32601)):
    try:
        call()
        sys.exit("no fault")
    except xmlrpc.client.Fault as fault:
        check(fault.faultCode, code)
print("ok")
