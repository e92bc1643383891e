/** The transcript of the first page: "signed" or not, URL of the server, and folder of the credentials. */
import { readFileSync } from "node:fs";
import { Client, Refused } from "../src/index.js";

const [signed, server, credentials] = process.argv.slice(2) as [string, string, string];
const file = (name: string) => readFileSync(`${credentials}/${name}`);
const atm = new Client({
  server, ca: file("ca.crt"), cert: file("client.crt"), key: file("client.key"),
  sign: signed === "signed",
});
const balance = async () => console.log((await atm.call("inquiry", { account: 100 })).result);

await balance();
for (let i = 0; i < 2; i++) { // one intention
  await atm.call("deposit", { account: 100, amount: "1001" }, 'typescript "1"');
}
await balance();
await atm.call("withdraw", { account: "100", amount: 392 });
await balance();
try {
  await atm.call("withdraw", { account: 100, amount: "999999.00" });
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.log(error.code, error.message);
}
atm.close();
