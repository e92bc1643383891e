#!/usr/bin/env node
// Move money with the package xmlrpc, signed in by client certificate.
//
// usage: atm.mjs [URL [FOLDER]]

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual, promisify } from "node:util";
import xmlrpc from "xmlrpc";

const [url = "https://localhost:9000/RPC2", folder = "atm-data/clients/demo"] = process.argv.slice(2);
const read = (name) => readFileSync(join(folder, name));

const { hostname, port, pathname } = new URL(url);
const client = xmlrpc.createSecureClient({
  host: hostname,
  port: port || 443,
  path: pathname,
  ca: read("ca.crt"),
  cert: read("client.crt"),
  key: read("client.key"),
});
const methodCall = promisify(client.methodCall.bind(client));
const call = (method, ...args) => methodCall(method, args);

console.log("balance", (await call("inquiry", 100)).result);

// The request id makes it safe to ask again when an answer got lost.
const order = randomUUID();
const first = await call("deposit", 100, "12.50", order);
console.log("deposited 12.50, balance", first.result);
if (isDeepStrictEqual(await call("deposit", 100, "12.50", order), first)) {
  console.log("asked again, deposited once");
}

console.log("withdrew 12.50, balance", (await call("withdraw", 100, "12.50", randomUUID())).result);

// An operation that is refused answers; it does not throw.
console.log("refused:", (await call("withdraw", 100, "1000000.00", randomUUID())).reason);

try {
  await call("no_such_method");
} catch (fault) {
  console.log("fault", fault.faultCode);
}
