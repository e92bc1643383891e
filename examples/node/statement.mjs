#!/usr/bin/env node
// Read a statement in the form camt.053 with the package iso20022.js, and add it up.
//
// usage: statement.mjs FILE
//
// FILE comes from: atmclient SERVER PORT statement ACCOUNT --format camt.053 --out FILE

import { readFileSync } from "node:fs";
import { CashManagementEndOfDayReport } from "iso20022.js";

const report = CashManagementEndOfDayReport.fromXML(readFileSync(process.argv[2], "utf8"));
const [statement] = report.statements;
const dollars = (cents) => (cents / 100).toFixed(2);
const signed = ({ amount, creditDebitIndicator }) =>
  Math.round(creditDebitIndicator === "debit" ? -amount : amount);
const balance = (type) => signed(statement.balances.find((b) => b.type === type));

console.log("account", statement.account.accountNumber, "at", statement.agent.routingNumber);
console.log("opening", dollars(balance("OPBD")));
let sum = balance("OPBD");
for (const entry of statement.entries) {
  sum += signed(entry);
  const [transaction] = entry.transactions;
  const words = [
    entry.referenceId, entry.bookingDate.toISOString(), dollars(signed(entry)), entry.proprietaryCode,
    (transaction.debtor ?? transaction.creditor)?.account?.accountNumber,
    transaction.remittanceInformation,
  ];
  console.log(words.filter((word) => word !== undefined).join(" "));
}
console.log("closing", dollars(balance("CLBD")));
if (sum !== balance("CLBD") || statement.numOfEntries !== statement.entries.length) {
  throw new Error(`the entries add up to ${dollars(sum)}`);
}
