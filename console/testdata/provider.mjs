// An OpenID provider for one client, which prints its URL: node provider.mjs CERT KEY REDIRECT
//
// It takes any name for an account, with any password; its id is that name and its email
// address NAME@example.com, which is verified unless the name begins with "new".
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import Provider from "oidc-provider";

const [cert, key, redirect] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const serve = (issuer) => new Provider(issuer, {
	clients: [{
		client_id: "atm-console", client_secret: "a secret of the client",
		redirect_uris: [redirect], response_types: ["code"], grant_types: ["authorization_code"],
		id_token_signed_response_alg: "ES256",
	}],
	claims: { openid: ["sub"], email: ["email", "email_verified"] },
	conformIdTokenClaims: false, // all claims are in the ID token
	findAccount: (_, id) => ({
		accountId: id,
		claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: !id.startsWith("new") }),
	}),
	pkce: { required: () => true },
	cookies: { keys: ["of the tests"] },
	jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", alg: "ES256" }] },
}).callback();
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) });
server.listen(0, "127.0.0.1", () => {
	const issuer = `https://127.0.0.1:${server.address().port}`;
	server.on("request", serve(issuer));
	console.log(issuer);
});
