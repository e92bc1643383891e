#!/usr/bin/env python3
"""Deposits a cent at a time, on kept connections and on new ones, for at least COUNT calls and twelve seconds. It tries
nothing twice.   usage: load.py HOST PORT CREDENTIALS COUNT"""
import http.client, ssl, sys, threading, time

host, port, folder, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
context = ssl.create_default_context(cafile=folder + "/ca.crt")
context.load_cert_chain(folder + "/client.crt", folder + "/client.key")
BODY = "<methodCall><methodName>deposit</methodName><params><param><value>100</value></param><param><value>0.01</value></param></params></methodCall>"
lock, calls, failed = threading.Lock(), 0, []
begun = time.monotonic()


def connect():
    return http.client.HTTPSConnection(host, port, context=context, timeout=30)


def work(keep):
    global calls
    connection = None
    while calls < count or time.monotonic() - begun < 12:
        error = None
        try:
            if connection is None:
                connection = connect()
            connection.request("POST", "/RPC2", BODY, {"Content-Type": "text/xml"})
            answer = connection.getresponse()
            text = answer.read()
            if b"<string>OK</string>" not in text:
                error = "%d %r" % (answer.status, text[:200])
            if not keep or answer.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as e:
            error, connection = repr(e), None
        with lock:
            calls += 1
            if error:
                failed.append(error)


threads = [threading.Thread(target=work, args=(n % 2 == 0,)) for n in range(8)]
for t in threads:
    t.start()
for t in threads:
    t.join()
for error in failed[:10]:
    print(error)
print("%d calls, %d failed" % (calls, len(failed)))
sys.exit(1 if failed else 0)
