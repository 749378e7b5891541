import type { OAuthSasl, OAuthTokenSource } from "../../config/config_security.ts";
import { readConfiguredFile } from "../configured_file.ts";
import { withDeadline } from "../deadline.ts";
import { ConnectError, KafkaError } from "../errors.ts";
import { fetchOidcToken } from "./oidc.ts";
import type { LoginMessage, LoginOptions, TokenLogin } from "./login.ts";
import { expiryOf } from "./jwt.ts";

/** A token, and until when it is good. */
export interface OAuthToken {
  readonly value: string;
  /** Milliseconds since the epoch; null: not known. */
  readonly expiresMs: number | null;
}

/** Everything that is fetched for one login. */
const PREPARE_TIMEOUT_MS = 20_000;
/** The largest that HTTP servers take in a header. */
const TOKEN_BYTES_MAX = 65_536;
/** RFC 6750; nothing else may get between the separators of the message. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/u;
/**
 * A fetched token is replaced after this share of its life; until its end it still does when no other can be had. Sessions are renewed
 * after four fifths of theirs at the earliest: with a token that is replaced by then, or the next session would end right away.
 */
const FRESH_SHARE = 0.5;

/** Ends the exchange after a refusal, so that the broker says why (RFC 7628). */
const END = Buffer.from("\u0001");

/** OAUTHBEARER (RFC 7628, KIP-255, KIP-342). */
export class OAuthLogin implements TokenLogin {
  readonly mechanism = "OAUTHBEARER";
  readonly #sasl: OAuthSasl;
  readonly #options: LoginOptions;
  #token: OAuthToken | null = null;
  #fetchedMs = 0;
  #fetching: Promise<OAuthToken> | null = null;

  constructor(sasl: OAuthSasl, options: LoginOptions) {
    this.#sasl = sasl;
    this.#options = options;
  }

  async prepare(_host: string, signal?: AbortSignal): Promise<LoginMessage> {
    const { value, expiresMs } = await this.#currentToken(signal);
    const extensions = Object.entries(this.#sasl.extensions).map(([name, text]) => `\u0001${name}=${text}`);
    const bytes = Buffer.from(`n,,\u0001auth=Bearer ${value}${extensions.join("")}\u0001\u0001`);
    const isOver = expiresMs !== null && expiresMs <= this.#options.now();
    const note = isOver ? `the token expired at ${new Date(expiresMs).toISOString()}` : null;
    return { bytes, note };
  }

  reply(answer: Buffer): Buffer | null {
    return answer.length === 0 ? null : END;
  }

  async #currentToken(signal: AbortSignal | undefined): Promise<OAuthToken> {
    const { source } = this.#sasl;
    if (source.kind === "token") return checkedToken(source.token, "sasl.oauthbearer.token");
    if (source.kind === "file") return await readTokenFile(source.path);
    const nowMs = this.#options.now();
    const token = this.#token;
    // A clock that was set back makes a token older than it looks, not younger.
    const endMs = token?.expiresMs ?? null;
    if (token !== null && endMs !== null && nowMs >= this.#fetchedMs) {
      if (nowMs < this.#fetchedMs + (endMs - this.#fetchedMs) * FRESH_SHARE) return token;
    }
    this.#fetching ??= this.#fetch(source).finally(() => this.#fetching = null);
    try {
      return await withDeadline(this.#fetching, PREPARE_TIMEOUT_MS, signal);
    } catch (error) {
      if (!(error instanceof KafkaError) || error.code === "aborted") throw error;
      if (token === null || endMs === null || nowMs >= endMs) throw timedOut(error);
      this.#options.log.warn(`${error.message}; the token before it is used until it ends`, {
        hint: error.hint,
      });
      return token;
    }
  }

  async #fetch(source: Extract<OAuthTokenSource, { kind: "oidc" }>): Promise<OAuthToken> {
    const startMs = this.#options.now();
    const token = await fetchOidcToken(source, startMs);
    this.#token = { ...token, value: checkedToken(token.value, "the token endpoint's answer").value };
    this.#fetchedMs = startMs;
    return this.#token;
  }
}

function timedOut(error: KafkaError): KafkaError {
  if (error.code !== "timeout") return error;
  return new ConnectError(
    "oauth-endpoint",
    `Cannot get a token within ${PREPARE_TIMEOUT_MS} ms`,
    { hint: "Check sasl.oauthbearer.token_endpoint_url and the network", cause: error },
  );
}

function checkedToken(text: string, where: string): OAuthToken {
  const value = text.trim();
  if (TOKEN.test(value)) return { value, expiresMs: expiryOf(value) };
  throw new ConnectError("oauth-token", `Cannot log in: ${where} holds no bearer token`, {
    hint: value === ""
      ? "It is empty: write the token into it"
      : "A token has letters, digits and . _ ~ + / - alone, in one line",
  });
}

async function readTokenFile(path: string): Promise<OAuthToken> {
  const name = `sasl.oauthbearer.token_file ${JSON.stringify(path)}`;
  const limit = {
    bytesMax: TOKEN_BYTES_MAX,
    text: `${TOKEN_BYTES_MAX} bytes`,
    hint: "Write the token alone into it",
  };
  const bytes = await readConfiguredFile(path, name, limit, fileError);
  return checkedToken(bytes.toString("utf8"), name);
}

function fileError(state: string, hint: string, cause?: unknown): ConnectError {
  return new ConnectError("oauth-token-file", `Cannot log in: ${state}`, { hint, cause });
}
