// A transparency log, verified: C2SP tlog-tiles, tlog-checkpoint, tlog-proof and signed-note, on
// the hashes of RFC 6962. It uses WebCrypto alone, so it runs in a browser and in Node.js.

const tileWidth = 256;
const text = new TextEncoder();
const crypto = globalThis.crypto;

// A Finding is what is wrong with a log. code is that of "atmctl audit verify": 10 cannot be
// verified, 11 wrong signature, 12 content differs, 13 rolled back.
export class Finding extends Error {
  constructor(code, message, where = {}) {
    super(message);
    this.code = code;
    Object.assign(this, where); // index, file, from, to
  }
}

const isBase64 = (s) => /^[A-Za-z0-9+/]*={0,2}$/.test(s) && s.length % 4 === 0;

export function fromBase64(s) {
  if (!isBase64(s)) throw new Finding(10, "this is no base64");
  return Uint8Array.from(atob(s), (c) => c.charCodeAt(0));
}

export const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

export const equal = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

function join(...parts) {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}

export const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

// leafHash is the hash of an entry, given as bytes.
export const leafHash = (entry) => sha256(join(Uint8Array.of(0), entry));

const nodeHash = (left, right) => sha256(join(Uint8Array.of(1), left, right));

// The keys of a log by the type in their first byte: the length of a key, and that of a signature
// line of it. No browser is sure to have ML-DSA-44, so of its signatures the length alone is checked.
const types = { 1: { key: 33, line: 68 }, 6: { key: 1313, line: 2432 } };

// parseKey reads a vkey: NAME+HASH+KEY. pub is null for a key of ML-DSA-44.
export async function parseKey(vkey) {
  const m = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(vkey.trim());
  const key = m && fromBase64(m[3]);
  const type = key && types[key[0]];
  if (!type || key.length !== type.key) throw new Finding(10, "this is no key of a log");
  const id = (await sha256(join(text.encode(m[1] + "\n"), key))).slice(0, 4);
  const hex = Array.from(id, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== m[2]) throw new Finding(10, "the key of the log does not have the hash that it names");
  const pub = key[0] !== 1 ? null :
    await crypto.subtle.importKey("raw", key.slice(1), "Ed25519", true, ["verify"]);
  return { name: m[1], id, pub, line: type.line };
}

// openCheckpoint returns what a checkpoint says, if a key of vkeys, one a line, signed it. Where
// they are of both algorithms, it must have signatures of both.
export async function openCheckpoint(note, vkeys) {
  const keys = await Promise.all(vkeys.trim().split(/\s+/).map(parseKey));
  const cut = note.lastIndexOf("\n\n");
  if (cut < 0 || !note.startsWith("— ", cut + 2)) throw new Finding(10, "there is no signed checkpoint");
  const body = note.slice(0, cut + 1);
  const [origin, size, root] = body.split("\n");
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size ?? "") || !Number.isSafeInteger(Number(size))) {
    throw new Finding(10, "this is no checkpoint");
  }
  const checkpoint = { origin, size: Number(size), root: fromBase64(root ?? "") };
  if (checkpoint.root.length !== 32) throw new Finding(10, "this is no checkpoint");
  const ours = keys.filter((key) => key.name === origin);
  if (ours.length === 0) throw new Finding(11, "the checkpoint is of another log: " + origin);
  if (!ours.some((key) => key.pub)) {
    throw new Finding(10, "a browser cannot verify ML-DSA-44: name the Ed25519 key of the log as well");
  }
  const signatures = note.slice(cut + 2).split("\n").map((line) => {
    const m = /^— (\S+) (\S+)$/.exec(line);
    return m && m[1] === origin && isBase64(m[2]) ? fromBase64(m[2]) : new Uint8Array();
  });
  const by = (key) => signatures.find((s) => s.length === key.line && equal(s.slice(0, 4), key.id));
  let wrong = "the checkpoint is not signed by the key that is pinned here";
  for (const key of ours.filter((key) => key.pub && by(key))) {
    if (await crypto.subtle.verify("Ed25519", key.pub, by(key).slice(4), text.encode(body))) {
      wrong = "";
      break;
    }
    wrong = "the signature of the checkpoint is wrong";
  }
  const second = ours.filter((key) => !key.pub);
  if (!wrong && second.length > 0 && !second.some(by)) {
    wrong = "the checkpoint lacks the ML-DSA-44 signature that the keys of the log promise";
  }
  if (wrong) throw new Finding(11, wrong);
  return checkpoint;
}

// rootOf is the root that hash, of the entry at index in a tree of size entries, has with proof
// (RFC 9162, section 2.1.3.2).
async function rootOf(hash, index, size, proof) {
  let fn = index, sn = size - 1, r = hash;
  for (const p of proof) {
    if (sn === 0) throw new Finding(12, "the proof is too long");
    if (fn % 2 === 1 || fn === sn) {
      r = await nodeHash(p, r);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else {
      r = await nodeHash(r, p);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  if (sn !== 0) throw new Finding(12, "the proof is too short");
  return r;
}

// checkProof verifies that the entry with a hash is in the log, by a tlog-proof and a pinned key.
// It returns the checkpoint that the proof ends in.
export async function checkProof(proof, hash, index, vkey) {
  const cut = proof.indexOf("\n\n");
  const lines = cut < 0 ? [] : proof.slice(0, cut).split("\n");
  if (lines.shift() !== "c2sp.org/tlog-proof@v1") throw new Finding(10, "this is no proof");
  if (lines[0]?.startsWith("extra ")) lines.shift();
  if (lines.shift() !== "index " + index) throw new Finding(12, `the proof is not of entry ${index}`, { index });
  const checkpoint = await openCheckpoint(proof.slice(cut + 2), vkey);
  if (index >= checkpoint.size) throw new Finding(12, "the proof is of an entry that is not in it");
  const root = await rootOf(hash, index, checkpoint.size, lines.map(fromBase64));
  if (!equal(root, checkpoint.root)) {
    throw new Finding(12, `entry ${index} is not the one in the log`, { index });
  }
  return checkpoint;
}

// tilePath is the path of a tile, or with level "entries" of a bundle; width below 256 is a
// partial one.
export function tilePath(level, n, width) {
  let path = String(n % 1000).padStart(3, "0");
  for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = "x" + String(rest % 1000).padStart(3, "0") + "/" + path;
  }
  return `tile/${level}/${path}` + (width < tileWidth ? `.p/${width}` : "");
}

// A Log reads the files of a log by read(path), which returns bytes or null.
export class Log {
  constructor(read) {
    this.read = read;
    this.tiles = new Map(); // path to its hashes; verified from the root downwards
  }

  async file(path, index) {
    const bytes = await this.read(path);
    if (!bytes) throw new Finding(12, `${path} is missing`, { file: path, index });
    return bytes;
  }

  async open(vkey) {
    const bytes = await this.read("checkpoint");
    if (!bytes) throw new Finding(10, "there is no checkpoint");
    this.checkpoint = await openCheckpoint(new TextDecoder().decode(bytes), vkey);
    this.size = this.checkpoint.size;
    return this.checkpoint;
  }

  // width of tile n of a level in this tree.
  width(level, n) {
    const nodes = Math.floor(this.size / tileWidth ** level);
    return Math.max(0, Math.min(tileWidth, nodes - n * tileWidth));
  }

  // tile returns the hashes of a tile, once it is proved by the tile above it, or as one of the
  // right edge by edge.
  async tile(level, n) {
    const width = this.width(level, n);
    const path = tilePath(level, n, width);
    if (this.tiles.has(path)) return this.tiles.get(path);
    const hashes = await this.rawTile(level, n);
    if (width === tileWidth) {
      const above = await this.tile(level + 1, Math.floor(n / tileWidth));
      if (!equal(await this.whole(hashes), above[n % tileWidth])) {
        const first = n * tileWidth ** (level + 1);
        throw new Finding(12, `${path} differs from the tile above it`, { file: path, index: first });
      }
    } else {
      await this.edge();
    }
    if (this.tiles.size > 4096) this.tiles.clear();
    this.tiles.set(path, hashes);
    return hashes;
  }

  async rawTile(level, n) {
    const width = this.width(level, n);
    const path = tilePath(level, n, width);
    const first = n * tileWidth ** (level + 1);
    const bytes = await this.file(path, first);
    if (bytes.length !== 32 * width) {
      throw new Finding(12, `${path} has ${bytes.length} bytes`, { file: path, index: first });
    }
    return Array.from({ length: width }, (_, i) => bytes.subarray(32 * i, 32 * i + 32));
  }

  // whole is the root of a power of two of hashes.
  async whole(hashes) {
    while (hashes.length > 1) {
      const above = [];
      for (let i = 0; i < hashes.length; i += 2) above.push(await nodeHash(hashes[i], hashes[i + 1]));
      hashes = above;
    }
    return hashes[0];
  }

  // edge verifies the partial tiles, which are the right edge of the tree, by its root.
  async edge() {
    if (this.edged) return;
    let root = null; // of what is to the right of the next tile
    for (let level = 0; this.size >= tileWidth ** level; level++) {
      const nodes = Math.floor(this.size / tileWidth ** level);
      const width = nodes % tileWidth;
      if (width === 0) continue;
      let rest = await this.rawTile(level, Math.floor(nodes / tileWidth));
      const parts = []; // whole subtrees from left to right
      for (let bit = 128; bit > 0; bit /= 2) {
        if (width & bit) {
          parts.push(await this.whole(rest.slice(0, bit)));
          rest = rest.slice(bit);
        }
      }
      for (const part of parts.reverse()) root = root ? await nodeHash(part, root) : part;
    }
    root ??= await sha256(new Uint8Array());
    if (!equal(root, this.checkpoint.root)) {
      throw new Finding(12, "the tree does not have the root that is signed");
    }
    this.edged = true;
  }

  // checkEntry verifies that an entry is the one at index.
  async checkEntry(entry, index) {
    if (index >= this.size) throw new Finding(10, "the entry is not published yet");
    await this.edge();
    const tile = await this.tile(0, Math.floor(index / tileWidth));
    if (!equal(await leafHash(entry), tile[index % tileWidth])) {
      throw new Finding(12, `entry ${index} is not the one in the log`, { index });
    }
  }

  // bundle calls each with the entries of a bundle, and with where each lies in its file.
  async bundle(n, each) {
    const width = this.width(0, n);
    const file = tilePath("entries", n, width);
    const bytes = await this.file(file, n * tileWidth);
    let at = 0;
    for (let i = 0; i < width; i++) {
      const index = n * tileWidth + i;
      const length = at + 2 <= bytes.length ? bytes[at] * 256 + bytes[at + 1] : Infinity;
      if (at + 2 + length > bytes.length) {
        throw new Finding(12, `${file} ends within entry ${index}`, { file, index, from: at, to: bytes.length });
      }
      await each({ index, file, from: at, to: at + 2 + length, bytes: bytes.subarray(at + 2, at + 2 + length) });
      at += 2 + length;
    }
    if (at !== bytes.length) {
      throw new Finding(12, `${file} goes on after its last entry`, { file, index: n * tileWidth + width, from: at, to: bytes.length });
    }
  }

  // verify reads the whole log. progress is told how many entries are verified, and each is given
  // every entry that is.
  async verify(progress = () => {}, each = () => {}) {
    await this.edge();
    for (let n = 0; n * tileWidth < this.size; n++) {
      const tile = await this.tile(0, n);
      await this.bundle(n, async ({ index, file, from, to, bytes }) => {
        if (equal(await leafHash(bytes), tile[index % tileWidth])) {
          each({ index, bytes });
          return;
        }
        throw new Finding(12, `entry ${index} differs: ${file}, bytes ${from} to ${to}`, { index, file, from, to });
      });
      progress(Math.min(this.size, (n + 1) * tileWidth));
    }
  }

  // checkExtends verifies that this log goes on where an older checkpoint of it ended: the whole
  // subtrees of the older tree are nodes of this one, and have its root.
  async checkExtends(older) {
    if (older.size > this.size) {
      throw new Finding(13, `the log had ${older.size} entries before, and has ${this.size} now`);
    }
    if (older.size === 0) return;
    await this.edge();
    let root = null;
    let end = older.size;
    for (let bit = 1; end > 0; bit *= 2) {
      if (Math.floor(older.size / bit) % 2 === 0) continue;
      const level = Math.floor(Math.log2(bit) / 8);
      const span = bit / tileWidth ** level; // nodes of that level
      const first = (end - bit) / tileWidth ** level;
      const tile = await this.tile(level, Math.floor(first / tileWidth));
      const node = await this.whole(tile.slice(first % tileWidth, (first % tileWidth) + span));
      root = root ? await nodeHash(node, root) : node;
      end -= bit;
    }
    if (!equal(root, older.root)) {
      throw new Finding(13, `the first ${older.size} entries are not those that were verified here before`);
    }
  }
}
