// Says which webhooks a verifier accepts: "node webhook.mjs NAME < webhooks", where NAME is that of
// a package of npm, or "crypto" for Node.js itself, which knows the specification by this file.
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

// The header that makes a raw Ed25519 key a SubjectPublicKeyInfo (RFC 8410).
const header = Buffer.from("302a300506032b6570032100", "hex");

function asymmetric(key) {
  const der = Buffer.concat([header, Buffer.from(key.replace(/^whpk_/, ""), "base64")]);
  const publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
  return (body, headers) => {
    const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
    const good = headers["webhook-signature"].split(" ").some((signature) => {
      const [scheme, text] = signature.split(",");
      return scheme === "v1a" && verify(null, signed, publicKey, Buffer.from(text, "base64"));
    });
    if (!good) throw new Error("no good signature");
  };
}

async function symmetric(name, key) {
  const { Webhook } = await import(name);
  const webhook = new Webhook(key);
  return (body, headers) => webhook.verify(body, headers);
}

const name = process.argv[2];
const verdicts = [];
for (const { key, body, headers } of JSON.parse(readFileSync(0))) {
  const check = name === "crypto" ? asymmetric(key) : await symmetric(name, key);
  try {
    check(body, headers);
    verdicts.push("");
  } catch (error) {
    verdicts.push(error.message);
  }
}
console.log(JSON.stringify(verdicts));
