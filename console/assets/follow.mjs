// Shows new entries of the log as they come, while the page can be seen, and for an hour at most.

import { countRows, localTime, verifyRow } from "./page.mjs";

const every = 3000; // milliseconds
const longest = 3600_000;
const most = 500; // rows

const status = document.getElementById("following");
const body = document.querySelector("#rows tbody");
const begun = Date.now();
let after = Number(status.dataset.after);

function cell(row, ...content) {
  const td = document.createElement("td");
  td.append(...content);
  row.append(td);
  return td;
}

function link(index) {
  const a = document.createElement("a");
  a.href = `/console/log/${index}`;
  a.textContent = index;
  return a;
}

function newRow(entry) {
  const row = document.createElement("tr");
  row.dataset.index = entry.Index;
  const time = document.createElement("time");
  time.dateTime = time.title = entry.Time;
  localTime(time);
  cell(row, link(entry.Index));
  cell(row, time);
  for (const text of [entry.What, entry.Caller, entry.Detail]) cell(row, text);
  const hint = document.createElement("span");
  hint.className = "hint";
  hint.textContent = entry.Reason;
  cell(row, entry.Code + " ", hint);
  cell(row).className = "mark";
  return row;
}

async function look() {
  if (document.hidden) return;
  const answer = await fetch(`/console/log/rows?after=${after}&${status.dataset.query}`);
  if (!answer.ok) throw new Error("the server answers " + answer.status);
  for (const entry of (await answer.json()).reverse()) {
    const row = newRow(entry);
    body.prepend(row);
    after = entry.Index;
    await verifyRow(row, entry.Leaf);
  }
  while (body.rows.length > most) body.lastElementChild.remove();
  countRows();
}

async function follow() {
  try {
    await look();
  } catch (error) {
    status.textContent = `Stopped: ${error.message}. Refresh to go on.`;
    return;
  }
  if (Date.now() - begun > longest) {
    status.textContent = "Stopped after an hour. Refresh to go on.";
    return;
  }
  setTimeout(follow, every);
}

if (body) {
  status.textContent = "New entries appear at the top of the table, while this page can be seen.";
  follow();
}
