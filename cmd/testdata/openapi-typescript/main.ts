// Speaks to a server by the types that openapi-typescript makes of its OpenAPI document: api.d.ts,
// which is beside this file while a test runs.
import { readFileSync } from "node:fs";
import { request } from "node:https";
import type { components, paths } from "./api.js";

type Refusal = components["schemas"]["Refusal"];
type Args<P extends keyof paths> = paths[P] extends {
  post: { requestBody: { content: { "application/json": infer A } } };
} ? A : never;
type Done<P extends keyof paths> = paths[P] extends {
  post: { responses: { 200: { content: { "application/json": infer D } } } };
} ? D : never;

const [server, credentials] = process.argv.slice(2) as [string, string];
const file = (name: string) => readFileSync(`${credentials}/${name}`);
const tls = { ca: file("ca.crt"), cert: file("client.crt"), key: file("client.key") };

function call<P extends keyof paths>(path: P, args: Args<P>, key?: string): Promise<Done<P> | Refusal> {
  const body = JSON.stringify(args);
  const headers: Record<string, string | number> = {
    "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body),
  };
  if (key !== undefined) headers["Idempotency-Key"] = JSON.stringify(key);
  return new Promise((resolve, reject) => {
    const sent = request(server + path, { ...tls, method: "POST", headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part: string) => { text += part; });
      answer.on("end", () => resolve(JSON.parse(text) as Done<P> | Refusal)).on("error", reject);
    });
    sent.on("error", reject).end(body);
  });
}

async function balance(): Promise<void> {
  const answer = await call("/v1/inquiry", { account: 100 });
  console.log(answer.result);
}

await balance();
for (let i = 0; i < 2; i++) { // one intention
  await call("/v1/deposit", { account: 100, amount: "1001" }, "typescript-1");
}
await balance();
await call("/v1/withdraw", { account: "100", amount: 392 });
await balance();
const refused = await call("/v1/withdraw", { account: 100, amount: "999999.00" });
if (refused.status === "ERROR") console.log(refused.code, refused.reason);
