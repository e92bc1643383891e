// What only a browser can add to a page: it verifies entries, and shows times in the zone of the
// reader. Green is what was computed here, with a key that was pinned here.

import { read } from "./files.mjs";
import { cents, checkSlip } from "./slips.mjs";
import { Finding, Log, checkProof, fromBase64, leafHash, toBase64 } from "./tlog.mjs";

const pinned = "atm.log"; // in localStorage: {vkey, size, root}
const bytesOf = (text) => new TextEncoder().encode(text);

function load() {
  try {
    return JSON.parse(localStorage.getItem(pinned));
  } catch {
    return null;
  }
}

function save(pin) {
  localStorage.setItem(pinned, JSON.stringify(pin));
}

function show(element, state, sentence) {
  element.dataset.state = state;
  element.textContent = sentence;
}

// said is what a finding says to people.
function said(error) {
  if (error instanceof Finding) return error.message + ".";
  return "This could not be verified: " + error.message + ".";
}

const stateOf = (error) => (error instanceof Finding && error.code !== 10 ? "wrong" : "unknown");

// openLog opens the log, and makes sure that it goes on from what this browser saw last.
async function openLog(pin) {
  const log = new Log(read);
  await log.open(pin.vkey);
  if (pin.root) await log.checkExtends({ size: pin.size, root: fromBase64(pin.root) });
  save({ vkey: pin.vkey, size: log.size, root: toBase64(log.checkpoint.root) });
  return log;
}

// withPin calls verify with the key that is pinned here, or offers to pin one.
async function withPin(verdict, verify) {
  const pin = load();
  if (pin?.vkey) return verify(pin);
  const answer = await fetch("/console/log.vkey");
  if (!answer.ok) return;
  const vkey = (await answer.text()).trim();
  show(verdict, "unknown", "No key of the log is pinned in this browser. The server says that it is ");
  const code = document.createElement("code");
  code.textContent = vkey;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Pin this key";
  button.addEventListener("click", () => {
    save({ vkey });
    verify({ vkey });
  });
  verdict.append(code, ". Compare it with the one that the bank gave you: with the file atm-data/audit/log.vkey, if the server is your own. ", button);
}

// An entry, or a slip.
async function verifyEntry() {
  const section = document.getElementById("verify");
  if (!section) return;
  const verdict = section.querySelector(".verdict");
  const index = Number(section.dataset.index);
  const leaf = document.getElementById("leaf"); // missing where its bytes are not for the reader
  const shown = document.getElementById("proof");
  await withPin(verdict, async (pin) => {
    show(verdict, "unknown", "Verifying in this browser …");
    try {
      for (let tries = 0; !shown.textContent && tries < 20; tries++) {
        const answer = await fetch(`/console/slips/${index}/proof`);
        if (answer.ok) shown.textContent = await answer.text();
        else await new Promise((resolve) => setTimeout(resolve, 300));
      }
      if (!shown.textContent) throw new Finding(10, "The entry is not published yet");
      const hash = leaf ? await leafHash(bytesOf(leaf.textContent)) : fromBase64(section.dataset.hash);
      const checkpoint = await checkProof(shown.textContent, hash, index, pin.vkey);
      show(verdict, "right", leaf
        ? `Verified in this browser: entry ${index} of ${checkpoint.size}, signed by the key that is pinned here.`
        : `Verified in this browser: an entry with this hash is number ${index} of ${checkpoint.size}. What it says was not computed here.`);
    } catch (error) {
      show(verdict, stateOf(error), said(error));
    }
  });
}

// checkMovement verifies that the entry of a movement is in the log, and that it says of the
// account what the row says. It returns false where its bytes are not for the reader.
async function checkMovement(row, account, pin) {
  const index = Number(row.dataset.index);
  const answer = await fetch(`/console/slips/${index}/file`);
  if (!answer.ok) throw new Finding(10, "The entry is not published yet");
  const { entry, leaf, proof } = await answer.json();
  await checkSlip({ index, entry, leaf, proof }, pin.vkey);
  if (!entry) return false;
  const said = JSON.parse(entry);
  const change = said.state?.find((c) => c.account === account);
  if (!change || cents(change.after) !== cents(row.dataset.balance) ||
    cents(change.after) - cents(change.before) !== cents(row.dataset.amount) ||
    (said.args?.memo ?? "") !== (row.querySelector(".memo")?.textContent ?? "") ||
    String(said.reverses ?? "") !== (row.dataset.reverses ?? "")) {
    throw new Finding(12, `entry ${index} says something else of the account`, { index });
  }
  return true;
}

// checkSum verifies that each balance follows from the one before, from the opening to the closing.
function checkSum({ opening, closing, whole }, rows) {
  let balance = whole === undefined ? null : cents(opening);
  for (const { dataset: row } of rows.toReversed()) {
    if (balance !== null && balance + cents(row.amount) !== cents(row.balance)) {
      throw new Finding(12, `the balance after entry ${row.index} does not follow from the one before`);
    }
    balance = cents(row.balance);
  }
  if (whole !== undefined && balance !== cents(closing)) {
    throw new Finding(12, "the closing balance does not follow from the movements");
  }
}

// A statement.
function offerStatement() {
  const table = document.getElementById("statement");
  if (!table) return;
  const verdict = document.getElementById("statement-verdict");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Verify the whole statement";
  button.addEventListener("click", () => withPin(verdict, (pin) => verifyStatement(table, verdict, pin)));
  verdict.append(" ", button);
}

async function verifyStatement(table, verdict, pin) {
  const rows = [...table.querySelectorAll("tr[data-index]")];
  let right = 0, hashed = 0, wrong = null;
  for (const row of rows) {
    show(verdict, "unknown", `Verifying in this browser: ${right + hashed} of ${rows.length} …`);
    const mark = row.querySelector(".mark");
    try {
      if (await checkMovement(row, table.dataset.account, pin)) {
        show(mark, "right", "verified");
        row.dataset.state = "right";
        right++;
      } else {
        mark.textContent = "in the log; its bytes also name accounts of others";
        hashed++;
      }
    } catch (error) {
      mark.textContent = said(error);
      row.dataset.state = stateOf(error);
      wrong ??= error;
    }
  }
  try {
    if (wrong) throw wrong;
    checkSum(table.dataset, rows);
  } catch (error) {
    show(verdict, stateOf(error), said(error));
    return;
  }
  const sum = "Each balance follows from the one before.";
  if (hashed) show(verdict, "unknown", `${right} of ${rows.length} movements are verified in this browser, and of ${hashed} that the log has them. ${sum}`);
  else show(verdict, "right", `Verified in this browser: ${right} of ${rows.length} movements. ${sum}`);
}

// The rows of a list.
let opened = null; // the log that they are verified against

const grouped = (n) => n.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ",") + "." + n.slice(-2);

function signed(amount) {
  const digits = String(amount < 0n ? -amount : amount).padStart(3, "0");
  return (amount < 0n ? "−" : "+") + grouped(digits);
}

// shown is what a row has to show of an entry.
function shown(entry) {
  const moved = (entry.state ?? []).map((c) => `${c.account} ${signed(cents(c.after) - cents(c.before))}`);
  const named = ["account", "from", "to"].map((name) => entry.args?.[name]).filter(Boolean);
  const accounts = (moved.length ? moved : named).join(", ");
  const repeated = entry.replay_of === undefined ? "" : `(repeated: the answer of entry ${entry.replay_of})`;
  return [entry.op ?? entry.ev, entry.who?.subject ?? "", repeated || accounts];
}

// verifyRow verifies that a row shows what the log has at its place, once a key is pinned. A row
// that is newer than the log was opens it again, until it is published.
export async function verifyRow(row, leaf) {
  const pin = load();
  if (!pin?.vkey) return;
  const mark = row.querySelector(".mark");
  const index = Number(row.dataset.index);
  try {
    for (let tries = 0; tries < 10 && (!opened || index >= opened.size); tries++) {
      if (tries > 0) await new Promise((resolve) => setTimeout(resolve, 300));
      opened = await openLog(load());
    }
    if (leaf === undefined) throw new Finding(10, "The server does not give the bytes of the entry");
    await opened.checkEntry(bytesOf(leaf), index);
    const entry = JSON.parse(leaf);
    const cells = [...row.cells].slice(2, 5).map((cell) => cell.textContent);
    if (shown(entry).some((text, i) => text !== cells[i]) ||
      (entry.code ?? "") !== (row.cells[5].firstChild?.textContent ?? "").trim() ||
      Math.abs(Date.parse(row.querySelector("time").dateTime) - Date.parse(entry.t)) > 1) {
      throw new Finding(12, `the row does not show what entry ${index} says`, { index });
    }
    mark.textContent = "verified";
    row.dataset.state = "right";
  } catch (error) {
    mark.textContent = said(error);
    row.dataset.state = stateOf(error);
  }
}

// leavesOf are the bytes of the entries of a table, by index.
async function leavesOf({ query, newest, oldest }) {
  const range = new URLSearchParams(query);
  range.set("before", Number(newest) + 1);
  range.set("after", Number(oldest) - 1);
  const answer = await fetch("/console/log/rows?" + range);
  if (!answer.ok) throw new Error("the server answers " + answer.status);
  return new Map((await answer.json()).map((entry) => [entry.Index, entry.Leaf]));
}

// countRows says how many of the rows that are shown now are verified, once the log is open.
export function countRows() {
  if (!opened) return;
  const rows = [...document.querySelectorAll("#rows tr[data-index]")];
  const right = rows.filter((row) => row.dataset.state === "right").length;
  const wrong = rows.some((row) => row.dataset.state === "wrong");
  show(document.getElementById("rows-verdict"), right === rows.length ? "right" : wrong ? "wrong" : "unknown",
    `${right} of ${rows.length} rows are verified in this browser, in a log of ${opened.size} entries.`);
}

async function verifyRows() {
  const table = document.getElementById("rows");
  if (!table) return;
  const verdict = document.getElementById("rows-verdict");
  await withPin(verdict, async (pin) => {
    const rows = [...table.querySelectorAll("tr[data-index]")];
    try {
      opened = await openLog(pin);
      const leaves = await leavesOf(table.dataset);
      for (const row of rows) await verifyRow(row, leaves.get(Number(row.dataset.index)));
      countRows();
    } catch (error) {
      show(verdict, stateOf(error), said(error));
    }
  });
}

// The whole log, in a worker.
async function verifyWhole() {
  const start = document.getElementById("start");
  if (!start) return;
  const verdict = document.getElementById("verdict");
  const progress = document.getElementById("progress");
  const facts = document.getElementById("facts");
  await withPin(verdict, (pin) => {
    start.hidden = false;
    start.addEventListener("click", () => {
      const { size, hash } = document.getElementById("whole").dataset; // of balances to reconcile
      start.disabled = true;
      progress.hidden = false;
      show(verdict, "unknown", "Verifying in this browser …");
      const worker = newWorker();
      worker.addEventListener("message", ({ data }) => {
        if (data.done !== undefined) {
          progress.max = data.size;
          progress.value = data.done;
          return;
        }
        worker.terminate();
        start.disabled = false;
        if (data.error) {
          show(verdict, data.error.code === 10 ? "unknown" : "wrong", data.error.message + ".");
          verdict.dataset.code = data.error.code;
          return;
        }
        save({ vkey: pin.vkey, size: data.size, root: data.root });
        show(verdict, "right", hash
          ? `Reconciled in this browser: the balances of ${data.accounts} accounts are what ${size} entries say.`
          : `Verified in this browser: ${data.size} entries, root ${data.root}.`);
        facts.replaceChildren(...fact("Entries", data.size), ...fact("Root", data.root), ...fact("Key", pin.vkey));
      });
      worker.postMessage({ pin, balances: hash && { size: Number(size), hash } });
    });
  });
}

function fact(name, value) {
  const term = document.createElement("dt"), detail = document.createElement("dd");
  term.textContent = name;
  detail.textContent = value;
  return [term, detail];
}

function newWorker() {
  const url = "/console/assets/worker.mjs";
  const trusted = globalThis.trustedTypes?.createPolicy("atm", { createScriptURL: () => url });
  return new Worker(trusted ? trusted.createScriptURL(url) : url, { type: "module" });
}

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// localTime shows a time in the zone of the reader, and in UTC beside it.
export function localTime(time) {
  time.title ||= time.textContent;
  time.textContent = clock.format(new Date(time.dateTime));
}

function localTimes() {
  document.querySelectorAll("time").forEach(localTime);
}

if (!document.body.classList.contains("print")) localTimes(); // in print, times are in UTC
verifyEntry();
offerStatement();
verifyRows();
verifyWhole();
