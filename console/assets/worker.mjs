// Verifies a whole log beside the page, which shows how far it is.

import { read } from "./files.mjs";
import { Finding, Log, fromBase64, toBase64 } from "./tlog.mjs";

addEventListener("message", async ({ data: pin }) => {
  try {
    const log = new Log(read);
    await log.open(pin.vkey);
    if (pin.root) await log.checkExtends({ size: pin.size, root: fromBase64(pin.root) });
    await log.verify((done) => postMessage({ done, size: log.size }));
    postMessage({ size: log.size, root: toBase64(log.checkpoint.root) });
  } catch (error) {
    const code = error instanceof Finding ? error.code : 10;
    postMessage({ error: { code, message: error.message, index: error.index } });
  }
});
