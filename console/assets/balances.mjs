// The balances that follow from the entries of a log, as "atmctl audit reconcile" works them out.

import { Finding, sha256, toBase64 } from "./tlog.mjs";

const disagree = 15; // the code of "atmctl audit reconcile"
const cents = (amount) => BigInt(amount.replace(".", ""));
const isCustomer = (name) => /^[1-9][0-9]*$/.test(name);

// order is that of the accounts: customers by number, and after them the bank's own by name.
function order(a, b) {
  if (isCustomer(a) && isCustomer(b)) return Number(a) - Number(b);
  if (isCustomer(a) !== isCustomer(b)) return isCustomer(a) ? -1 : 1;
  return a < b ? -1 : 1;
}

export class Balances {
  constructor(size) {
    this.size = size; // entries that count
    this.seen = 0;
    this.accounts = new Map(); // name to {version, amount}
  }

  // add replays an entry that was verified.
  add({ index, bytes }) {
    if (index >= this.size) return;
    this.seen++;
    const entry = JSON.parse(new TextDecoder().decode(bytes));
    let sum = 0n;
    for (const { account, version, before, after } of entry.state ?? []) {
      const was = this.accounts.get(account) ?? { version: 0, amount: "0.00" };
      if (version !== was.version + 1 || before !== was.amount) {
        throw new Finding(disagree, `entry ${index} makes version ${version} of account ${account} out of ` +
          `${before}; the log had version ${was.version} with ${was.amount}`, { index });
      }
      this.accounts.set(account, { version, amount: after });
      sum += cents(after) - cents(before);
    }
    if (sum !== 0n) throw new Finding(disagree, `entry ${index} makes money out of nothing`, { index });
  }

  // check compares the balances with the hash that the bank tells, and returns how many there are.
  async check(hash) {
    if (this.seen < this.size) throw new Finding(10, "the log is not published as far as the balances go");
    let text = "";
    for (const name of [...this.accounts.keys()].sort(order)) {
      const { version, amount } = this.accounts.get(name);
      text += `${name} ${version} ${amount}\n`;
    }
    if (toBase64(await sha256(new TextEncoder().encode(text))) !== hash) {
      throw new Finding(disagree, `the balances of the bank are not what ${this.size} entries of the log say`);
    }
    return this.accounts.size;
  }
}
