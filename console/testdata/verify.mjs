// Verifies logs by the scripts of the page. It reads a line of JSON for each, {dir, vkey,
// older}, and answers each with the verdict on a line.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Finding, Log, fromBase64, toBase64 } from "../assets/tlog.mjs";

async function verify({ dir, vkey, older }) {
  const log = new Log(async (path) => {
    try {
      return new Uint8Array(await readFile(join(dir, path)));
    } catch (error) {
      if (error.code === "ENOENT") return null;
      throw error;
    }
  });
  try {
    await log.open(vkey);
    if (older) await log.checkExtends({ size: older.size, root: fromBase64(older.root) });
    await log.verify();
    return { code: 0, size: log.size, root: toBase64(log.checkpoint.root) };
  } catch (error) {
    if (!(error instanceof Finding)) throw error;
    return { code: error.code, index: error.index, file: error.file, message: error.message };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await verify(JSON.parse(line))));
}
