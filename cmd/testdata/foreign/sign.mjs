// Signs a deposit with an implementation of RFC 9421 by others, and sends it: URL of the server,
// and folder of the credentials. The digest is SHA-512, and two more headers are covered.
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { createSigner, httpbis } from "http-message-signatures";

const [server, credentials] = process.argv.slice(2);
const file = (name) => readFileSync(`${credentials}/${name}`);
const body = JSON.stringify({ account: 100, amount: "12.50", memo: "signed by others" });
const keyid = createHash("sha256").update(new X509Certificate(file("client.crt")).raw).digest("hex");
const signed = await httpbis.signMessage({
  key: createSigner(file("client.key"), "ecdsa-p256-sha256", keyid),
  fields: ["@method", "@path", "@authority", "content-type", "content-length", "content-digest",
    "idempotency-key"],
  params: ["keyid", "alg", "created", "expires", "nonce"],
  paramValues: { expires: new Date(Date.now() + 60_000), nonce: "n-0S6_WzA2Mj" },
}, {
  method: "POST", url: `${server}/v1/deposit`,
  headers: {
    "Host": new URL(server).host, "Content-Type": "application/json",
    "Content-Length": String(Buffer.byteLength(body)), "Idempotency-Key": '"one id"',
    "Content-Digest": `sha-512=:${createHash("sha512").update(body).digest("base64")}:`,
  },
});
for (const sent of [body, body.replace("12.50", "12.51")]) {
  await new Promise((resolve, reject) => request(signed.url, {
    method: "POST", headers: signed.headers,
    ca: file("ca.crt"), cert: file("client.crt"), key: file("client.key"),
  }, async (answer) => {
    let text = "";
    for await (const part of answer) text += part;
    const dict = JSON.parse(text);
    console.log(answer.statusCode, dict.result, dict.reason);
    resolve();
  }).on("error", reject).end(sent));
}
