// Slips as the console saves them: one, or those of a statement or of a part of the log.

import { Finding, checkProof, fromBase64, leafHash } from "./tlog.mjs";

export const cents = (amount) => BigInt(amount.replace(".", ""));

// notSaved says of a file that it has no slips.
export const notSaved = "This file is not one that the console saved with proofs";

// checkSlip verifies that the log has the entry of a slip, or the hash of one whose bytes are not
// for the reader. It returns the checkpoint that says so.
export async function checkSlip(slip, vkey) {
  if (typeof (slip?.entry ?? slip?.leaf) !== "string" || !Number.isSafeInteger(slip.index) ||
    typeof slip.proof !== "string") {
    throw new Finding(10, notSaved);
  }
  const hash = slip.entry ? await leafHash(new TextEncoder().encode(slip.entry)) : fromBase64(slip.leaf);
  return checkProof(slip.proof, hash, slip.index, vkey);
}

// checkSlips verifies each slip of a file, and the balances of a statement: each follows from the
// one before, from the opening to the closing. It returns how many there are, and of how many the
// log has only been seen to have their hash.
export async function checkSlips(file, vkey, progress = () => {}) {
  let last = -1, hashed = 0, balance = file.whole ? cents(file.opening) : null;
  for (const slip of file.slips) {
    progress(last);
    await checkSlip(slip, vkey);
    const { index } = slip;
    if (index <= last) throw new Finding(12, `entry ${index} stands behind entry ${last}`, { index });
    last = index;
    if (!slip.entry) {
      hashed++;
      balance = null;
    } else if (file.account) {
      const change = JSON.parse(slip.entry).state?.find((c) => c.account === file.account);
      if (!change || (balance !== null && cents(change.before) !== balance)) {
        throw new Finding(12, `the balance at entry ${index} does not follow from the one before`, { index });
      }
      balance = cents(change.after);
    }
  }
  if (file.whole && balance !== null && balance !== cents(file.closing)) {
    throw new Finding(12, "the closing balance does not follow from the movements");
  }
  return { slips: file.slips.length, hashed };
}
