/** A deposit whose answer may be lost: URL of the server and folder of the credentials. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Client } from "../src/index.js";

const [server, credentials] = process.argv.slice(2) as [string, string];
const file = (name: string) => readFileSync(`${credentials}/${name}`);
const atm = new Client({
  server, ca: file("ca.crt"), cert: file("client.crt"), key: file("client.key"),
});
const done = await atm.call("deposit", { account: 100, amount: "12.50" }, randomUUID());
console.log(done.result);
console.log((await atm.call("inquiry", { account: 100 })).result);
atm.close();
