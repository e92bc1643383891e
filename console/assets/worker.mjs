// Verifies a whole log beside the page, which shows how far it is, and reconciles balances with it.

import { Balances } from "./balances.mjs";
import { read } from "./files.mjs";
import { Finding, Log, fromBase64, toBase64 } from "./tlog.mjs";

addEventListener("message", async ({ data: { pin, balances } }) => {
  try {
    let log = null;
    for (let tries = 0; tries < 20; tries++) { // until what the balances follow from is published
      log = new Log(read);
      await log.open(pin.vkey);
      if (!balances || log.size >= balances.size) break;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    if (pin.root) await log.checkExtends({ size: pin.size, root: fromBase64(pin.root) });
    const replay = balances && new Balances(balances.size);
    await log.verify((done) => postMessage({ done, size: log.size }), (entry) => replay?.add(entry));
    const accounts = await replay?.check(balances.hash);
    postMessage({ size: log.size, root: toBase64(log.checkpoint.root), accounts });
  } catch (error) {
    const code = error instanceof Finding ? error.code : 10;
    postMessage({ error: { code, message: error.message, index: error.index } });
  }
});
