#!/usr/bin/env python3
"""Verify a published audit log without any of our programs.

usage: verify.py FOLDER [VKEY-FILE]

It needs Python's standard library and the command openssl (3.0 or later). What
it reads is the C2SP tlog-tiles form: a checkpoint signed by Ed25519, and bundles
of 256 entries, from which the RFC 6962 tree is computed again. Keys of other
algorithms in VKEY-FILE, such as ML-DSA-44, and their signatures are not used.
Without VKEY-FILE the key beside the log is used, which proves nothing against
somebody who could replace both.
"""

import base64
import hashlib
import os
import subprocess
import sys
import tempfile


def printable(text):
    """What others wrote moves no cursor, and begins no line of its own."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def fail(sentence):
    sys.exit(f"not verified: {printable(sentence)}")


def read(path, limit=1 << 24):
    try:
        with open(path, "rb") as file:
            return file.read(limit)
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def ed25519_key(vkeys):
    """Return the first Ed25519 key of a file with public keys, one a line."""
    for vkey in vkeys.split():
        name, key_id, key = vkey.split("+", 2)
        key = base64.b64decode(key)
        if key[0] == 1:
            return name, key_id, key
    fail("there is no Ed25519 key of a log")


def check_signature(checkpoint, vkeys):
    """Check the signature of a note (C2SP signed-note), and return its text."""
    name, key_id, key = ed25519_key(vkeys)
    if hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] != key_id:
        fail("the key is no Ed25519 key of a log")
    text, _, signatures = checkpoint.partition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, signature = line.split(" ")
        signature = base64.b64decode(signature)
        if dash != "—" or signer != name or signature[:4].hex() != key_id:
            continue  # a witness, or a key that we do not know
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, part) for part in ("key", "text", "signature")]
            # The header of a SubjectPublicKeyInfo of Ed25519 (RFC 8410).
            public = bytes.fromhex("302a300506032b6570032100") + key[1:]
            for path, data in zip(paths, (public, text.encode(), signature[4:])):
                with open(path, "wb") as file:
                    file.write(data)
            done = subprocess.run(
                ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", paths[0],
                 "-rawin", "-in", paths[1], "-sigfile", paths[2]], capture_output=True)
            if done.returncode != 0:
                fail("the signature of the checkpoint is wrong")
            return text
    fail("the checkpoint is not signed by this key")


def tile_path(number):
    path = f"{number % 1000:03}"
    while number >= 1000:
        number //= 1000
        path = f"x{number % 1000:03}/{path}"
    return path


def entries(folder, size):
    """Yield all entries of the log, from its bundles."""
    for bundle in range((size + 255) // 256):
        width = min(256, size - bundle * 256)
        path = os.path.join(folder, "tile", "entries", tile_path(bundle))
        if width < 256:
            path += f".p/{width}"
        data = read(path)
        for _ in range(width):
            length = int.from_bytes(data[:2], "big")
            if len(data) < 2 + length:
                fail(f"{path} is cut short")
            yield data[2:2 + length]
            data = data[2 + length:]
        if data:
            fail(f"{path} has more in it than was signed")


def main(folder, vkey_file):
    checkpoint = read(os.path.join(folder, "checkpoint")).decode()
    text = check_signature(checkpoint, read(vkey_file).decode())
    origin, size, root = text.split("\n")[:3]
    size = int(size)
    if not 0 <= size <= 1 << 53:
        fail(f"no log has {size} entries")

    # The right edge of the tree: roots of complete subtrees, the largest first.
    edge = []
    for index, entry in enumerate(entries(folder, size)):
        node = hashlib.sha256(b"\0" + entry).digest()
        while index & 1:
            node = hashlib.sha256(b"\1" + edge.pop() + node).digest()
            index >>= 1
        edge.append(node)
    node = edge.pop() if edge else hashlib.sha256().digest()
    while edge:
        node = hashlib.sha256(b"\1" + edge.pop() + node).digest()
    if base64.b64encode(node).decode() != root:
        fail(f"the {size} entries do not hash to the signed root")
    print(f"verified: {size} entries, root {root}, signed by {printable(origin)}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else os.path.join(sys.argv[1], "log.vkey"))
