"""Receives the event feed. usage: receiver.py PORT CERTIFICATE KEY SECRET STATE"""
import base64, hashlib, hmac, http.server, json, sqlite3, ssl, sys, threading, time

def check(good, wrong):
    if not good: raise ValueError(wrong)
def unb64(text): return base64.b64decode(text, validate=True)
def digest(*parts): return hashlib.sha256(b"".join(parts)).digest()
def get(name, default=None):
    return (db.execute("SELECT value FROM kept WHERE name = ?", [name]).fetchone() or [default])[0]
def pin(name, value):  # what never becomes another one
    check(get(name, value) == value, f"{name} was {get(name)}, and is now {value}")
    db.execute("REPLACE INTO kept VALUES (?, ?)", [name, value])

def verify(id, stamp, signatures, body):  # standardwebhooks.com
    good = base64.b64encode(hmac.digest(SECRET, f"{id}.{stamp}.".encode() + body, "sha256"))
    check(any(hmac.compare_digest(b"v1," + good, s.encode()) for s in signatures.split()), "forged")
    check(abs(time.time() - int(stamp)) <= 300, "it is not of these five minutes")

def root_of(leaf, index, size, path):  # of the tree that has leaf at index (RFC 6962, 2.1)
    if size == 1: return leaf if (index, path) == (0, []) else b""
    half, rest, sibling = 1 << (size - 1).bit_length() - 1, path[:-1], path[-1]
    if index < half: return digest(b"\1", root_of(leaf, index, half, rest), sibling)
    return digest(b"\1", sibling, root_of(leaf, index - half, size - half, rest))

def take(id, event):  # raises what is wrong with it
    data, kind = event["data"], event["type"]
    pin("the stream", f"{id.removesuffix(event['id'])} {event['source']}")
    if kind == "atm.test": return kind
    last, seen, most = json.loads(get("place", "[-1, 0, 0]"))
    proof, _, note = data.get("proof", "\n\n" + data.get("checkpoint", "")).partition("\n\n")
    if note:  # c2sp.org/tlog-checkpoint
        origin, size, root = note.split("\n")[:3]
        check(origin == event["source"], "the checkpoint is of another log")
        pin(f"the root of {size} entries", root)
    if kind == "atm.checkpoint":
        what, begin, place = root, data["next"], [last, data["next"], data["size"]]
        check(event["id"] == f"checkpoint-{size}" and begin <= data["size"] == int(size) >= most,
              f"wrong size: the log had {most} entries")
    else:
        what, begin, place = data["leaf"], data["index"], [data["index"], data["index"] + 1, most]
        entry = data.get("entry")  # without it there is what the owner of an account may know
        check(not entry or digest(b"\0", entry.encode()) == unb64(what), "the entry was altered")
        said = json.loads(entry) if entry else data["known"]
        check((event["id"], event["time"]) == (str(begin), said["t"]) and kind in (
            "atm.balance.below", f"atm.{said.get('op', said['ev'])}"), "it is of another entry")
        pin("whether there are proofs", bool(proof))
        if proof:  # c2sp.org/tlog-proof
            form, at, *path = proof.split("\n")
            found = root_of(unb64(what), begin, int(size), [unb64(hash) for hash in path])
            check(found == unb64(root) and at == f"index {begin}", "the proof proves nothing")
    if get(id): return pin(id, what) or f"{kind} again"
    before, since = data["previous"], data.get("from")
    check(begin >= seen and (before == last or before is None and last < since <= (seen or since)),
          f"{last} was here last, and everything before {seen}; before this one is {before}")
    pin(id, what)
    db.execute("REPLACE INTO kept VALUES ('place', ?)", [json.dumps(place)])
    return kind

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        id, *signed = [self.headers["webhook-" + h] for h in ("id", "timestamp", "signature")]
        try:
            body = self.rfile.read(min(int(self.headers["content-length"]), 1 << 20))
            with lock, db:  # all or nothing is kept; what you do with an event belongs in here
                verify(id, *signed, body)
                print(id, take(id, json.loads(body)), flush=True)
            self.send_response_only(204)
        except Exception as wrong:  # it will be sent again
            self.log_error("refused %s: %s", id, wrong)
            self.send_response_only(409)
        self.end_headers()

SECRET = unb64(open(sys.argv[4]).read().strip().removeprefix("whsec_"))
db, lock = sqlite3.connect(sys.argv[5], check_same_thread=False), threading.Lock()
db.execute("CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value)")
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(*sys.argv[2:4])
server = http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Receiver)
server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
