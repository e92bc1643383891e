/**
 * Client of the ATM: JSON over HTTPS, with Node.js alone. The types are made of the OpenAPI document
 * of the server when the package is built.
 *
 * A call with a request id happens once, however often it is sent, so it is sent again when no answer
 * comes. If none comes at all, the error is OutcomeUnknown: only a call with the same id can tell.
 */
import { createHash, createPrivateKey, sign, X509Certificate, type KeyObject } from "node:crypto";
import { Agent, request } from "node:https";
import type { components, paths } from "./api.js";

type Body<P extends keyof paths> = paths[P] extends {
  post: { requestBody: { content: { "application/json": infer A } } };
} ? A : never;

type Done<P extends keyof paths> = paths[P] extends {
  post: { responses: { 200: { content: { "application/json": infer D } } } };
} ? D : never;

/** The name of a method, such as "deposit". */
export type Method = keyof paths extends infer P ? P extends `/v1/${infer M}` ? M : never : never;

/** The named arguments of a method. */
export type Args<M extends Method> = Body<`/v1/${M}` & keyof paths>;

/** The answer to a call that was carried out. */
export type Answer<M extends Method> = Done<`/v1/${M}` & keyof paths>;

/** The dict of a refusal. */
export type Refusal = components["schemas"]["Refusal"];

/** The server refused the call: nothing was carried out. code is empty for what is no call. */
export class Refused extends Error {
  constructor(readonly code: string, reason: string, readonly receipt: string,
    readonly status: number) {
    super(reason);
    this.name = "Refused";
  }
}

/** Money may have moved: ask again with this request id. */
export class OutcomeUnknown extends Error {
  constructor(readonly requestId: string, cause: string) {
    super(`the outcome is unknown (${cause}); ask again with request id ${requestId}`);
    this.name = "OutcomeUnknown";
  }
}

/** How a client reaches a server and signs in: with a certificate, or with a token. */
export interface Options {
  /** URL of the server, such as https://localhost:9000. */
  server: string;
  ca: string | Buffer;
  cert?: string | Buffer;
  key?: string | Buffer;
  token?: string;
  /** Signs each request with key, so that the server can prove what was asked for (RFC 9421). */
  sign?: boolean;
  /** Milliseconds that one try may take; 30,000 when left out. */
  timeout?: number;
  /** How often a call with a request id is sent; 4 when left out. */
  tries?: number;
}

// What the server does not remember of a request id; "" is a refusal of what is no call.
const notRemembered = ["", "UNAVAILABLE", "INTERNAL", "PERMISSION_DENIED", "NOT_CONFIRMED",
  "IDEMPOTENCY_CONFLICT", "FAULT"];

const most = 8 << 20; // characters of an answer

/** Signs requests with the key of a certificate (RFC 9421). */
class Signer {
  private readonly key: KeyObject;
  private readonly keyId: string;
  private readonly hash: string | null;
  private readonly algorithm: string;

  constructor(cert: string | Buffer, key: string | Buffer) {
    this.key = createPrivateKey(key);
    this.keyId = createHash("sha256").update(new X509Certificate(cert).raw).digest("hex");
    const curve = this.key.asymmetricKeyDetails?.namedCurve;
    if (this.key.asymmetricKeyType === "ed25519") {
      [this.hash, this.algorithm] = [null, "ed25519"];
    } else if (curve === "prime256v1") {
      [this.hash, this.algorithm] = ["sha256", "ecdsa-p256-sha256"];
    } else if (curve === "secp384r1") {
      [this.hash, this.algorithm] = ["sha384", "ecdsa-p384-sha384"];
    } else {
      throw new Error("a key that signs requests is of Ed25519, P-256 or P-384");
    }
  }

  /** The headers of a signature of a POST to url with body, whose Idempotency-Key is id. */
  headers(url: URL, body: string, id?: string): Record<string, string> {
    const digest = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
    const covered: [string, string][] = [
      ["@method", "POST"], ["@target-uri", url.href], ["content-digest", digest],
    ];
    if (id !== undefined) covered.push(["idempotency-key", id]);
    const params = `(${covered.map(([name]) => `"${name}"`).join(" ")})` +
      `;created=${Math.floor(Date.now() / 1000)};keyid="${this.keyId}";alg="${this.algorithm}"`;
    const base = [...covered, ["@signature-params", params]]
      .map(([name, value]) => `"${name}": ${value}`).join("\n");
    const value = sign(this.hash, Buffer.from(base), { key: this.key, dsaEncoding: "ieee-p1363" });
    return {
      "Content-Digest": digest, "Signature-Input": `sig=${params}`,
      "Signature": `sig=:${value.toString("base64")}:`,
    };
  }
}

export class Client {
  private readonly agent: Agent;
  private readonly signer: Signer | undefined;

  constructor(private readonly options: Options) {
    const { ca, cert, key } = options;
    if (options.sign) {
      if (!cert || !key) throw new Error("requests are signed with cert and key");
      this.signer = new Signer(cert, key);
    }
    this.agent = new Agent({
      ca, keepAlive: true, minVersion: "TLSv1.3", ...(cert && { cert }), ...(key && { key }),
    });
  }

  /** Closes the connections. */
  close(): void { this.agent.destroy(); }

  /** Calls a method. With a request id it is sent again if no answer comes. */
  async call<M extends Method>(method: M, args: Args<M>, requestId?: string): Promise<Answer<M>> {
    const body = JSON.stringify(args);
    const tries = requestId === undefined ? 1 : this.options.tries ?? 4;
    let cause = "";
    for (let n = 0; n < tries; n++) {
      if (n > 0) await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** n));
      let status: number, dict: Partial<Refusal> & { code?: string };
      try {
        ({ status, dict } = await this.post(method, body, requestId));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED" && cause === "") throw error;
        cause = (error as Error).message;
        continue;
      }
      const code: string = dict.code ?? "";
      if (status === 200) return dict as Answer<M>;
      if (code === "OUTCOME_UNKNOWN") {
        cause = dict.reason ?? code;
        continue;
      }
      if (cause !== "" && notRemembered.includes(code)) continue; // says nothing of the try before
      throw new Refused(code, dict.reason ?? "", dict.receipt ?? "", status);
    }
    throw new OutcomeUnknown(requestId ?? "", cause);
  }

  private post(method: string, body: string, requestId?: string): Promise<{
    status: number; dict: Partial<Refusal>;
  }> {
    const headers: Record<string, string | number> = {
      "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body),
    };
    const url = new URL(`${this.options.server}/v1/${encodeURIComponent(method)}`);
    const id = requestId === undefined ? undefined : JSON.stringify(requestId);
    if (id !== undefined) headers["Idempotency-Key"] = id;
    if (this.signer) Object.assign(headers, this.signer.headers(url, body, id));
    if (this.options.token) headers["Authorization"] = "Bearer " + this.options.token;
    return new Promise((resolve, reject) => {
      const sent = request(url, {
        agent: this.agent, method: "POST", headers,
        signal: AbortSignal.timeout(this.options.timeout ?? 30_000),
      }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("error", reject).on("data", (part: string) => {
          if ((text += part).length > most) sent.destroy(new Error("the answer is too large"));
        }).on("end", () => {
          const isDict = answer.headers["content-type"] === "application/json";
          try {
            resolve({
              status: answer.statusCode ?? 0,
              dict: isDict ? JSON.parse(text) : { reason: text.trim() },
            });
          } catch (error) {
            reject(error);
          }
        });
      });
      sent.on("error", reject).end(body);
    });
  }
}
