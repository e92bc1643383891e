// An OpenID provider for two clients, which prints its URL: node provider.mjs CERT KEY REDIRECT GROUPS
//
// It takes any name for an account, with any password; its id is that name and its email
// address NAME@example.com, which is verified unless the name begins with "new". The file GROUPS
// has the groups of each name. atm-console is the client of a console, which sends browsers to
// REDIRECT; atm-cli is that of command lines.
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import Provider from "oidc-provider";

const [cert, key, redirect, groups] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const device = "urn:ietf:params:oauth:grant-type:device_code";
const serve = (issuer) => new Provider(issuer, {
	clients: [{
		client_id: "atm-console", client_secret: "a secret of the client",
		redirect_uris: [redirect], response_types: ["code"], grant_types: ["authorization_code"],
		id_token_signed_response_alg: "ES256",
	}, {
		client_id: "atm-cli", application_type: "native", token_endpoint_auth_method: "none",
		redirect_uris: ["http://127.0.0.1/callback"], response_types: ["code"],
		grant_types: ["authorization_code", "refresh_token", device],
		id_token_signed_response_alg: "ES256",
	}],
	claims: { openid: ["sub", "groups"], email: ["email", "email_verified"] },
	conformIdTokenClaims: false, // all claims are in the ID token
	findAccount: (_, id) => ({
		accountId: id,
		claims: () => ({
			sub: id, email: `${id}@example.com`, email_verified: !id.startsWith("new"),
			groups: JSON.parse(readFileSync(groups, "utf8"))[id] ?? [],
		}),
	}),
	features: {
		deviceFlow: { enabled: true }, revocation: { enabled: true },
		resourceIndicators: {
			enabled: true,
			getResourceServerInfo: () => ({
				scope: "", audience: "atm", accessTokenFormat: "jwt", jwt: { sign: { alg: "ES256" } },
			}),
			useGrantedResource: () => true,
		},
	},
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
