import { readFileSync } from "node:fs";
import type { Certificates } from "../../scripts/lib/kafka_certificates.ts";
import { makeToken } from "../../scripts/lib/kafka_tokens.ts";

/** What was asked of a provider. */
export interface TokenRequest {
  readonly authorization: string | null;
  readonly form: Readonly<Record<string, string>>;
}

/** An OIDC provider on loopback, with TLS by the test authority: gives tokens that the brokers of a test cluster take. */
export class TokenProvider implements Disposable {
  readonly requests: TokenRequest[] = [];
  /** Life of the tokens that it gives from now on. */
  lifeSeconds = 60;
  /** Answers with this instead. */
  answer: (() => Response | Promise<Response>) | null = null;
  readonly #server: ReturnType<typeof Bun.serve>;

  constructor(files: Certificates, client: { readonly id: string; readonly secret: string }) {
    const wanted = `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString("base64")}`;
    const keystore = readFileSync(files.serverKeystore, "utf8");
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: { key: keystore, cert: keystore },
      fetch: async (request) => {
        const authorization = request.headers.get("authorization");
        this.requests.push({
          authorization,
          form: Object.fromEntries(new URLSearchParams(await request.text())),
        });
        if (this.answer !== null) return await this.answer();
        if (authorization !== wanted) {
          // As some do, it repeats what it was told.
          const words = { error: "invalid_client", error_description: `${authorization} is not known` };
          return Response.json(words, { status: 401 });
        }
        const token = makeToken(files.tokenKey, { sub: "admin", lifeSeconds: this.lifeSeconds });
        return Response.json({ access_token: token, token_type: "Bearer", expires_in: this.lifeSeconds });
      },
    });
  }

  get url(): string {
    return `https://localhost:${this.#server.port}/token`;
  }

  [Symbol.dispose](): void {
    void this.#server.stop(true);
  }
}
