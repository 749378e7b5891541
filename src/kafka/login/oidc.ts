import type { OAuthTokenSource } from "../../config/config_security.ts";
import { ConnectError } from "../errors.ts";
import { certificatesOf } from "../tls/certificates.ts";
import { readTlsSource } from "../tls/tls_file.ts";
import { askHttp, type HttpAnswer, HttpError, shown } from "./http.ts";
import { expiryOf } from "./jwt.ts";
import type { OAuthToken } from "./oauth_login.ts";

type OidcSource = Extract<OAuthTokenSource, { kind: "oidc" }>;

interface TokenAnswer {
  readonly access_token?: unknown;
  readonly expires_in?: unknown;
  readonly error?: unknown;
  readonly error_description?: unknown;
}

/** Client credentials (RFC 6749, 4.4), as librdkafka and the Java client ask. Rejects with ConnectError. */
export async function fetchOidcToken(source: OidcSource, nowMs: number): Promise<OAuthToken> {
  const { url, clientId, clientSecret, scope, audience } = source;
  const form = new URLSearchParams({ grant_type: "client_credentials" });
  if (scope !== null) form.set("scope", scope);
  if (audience !== null) form.set("audience", audience);
  const basic = Buffer.from(`${clientId}:${clientSecret}`).toString("base64");
  const ca = source.ca === null
    ? null
    : certificatesOf(await readTlsSource(source.ca, "sasl.oauthbearer.ca_file")).map(String);
  let answer: HttpAnswer;
  try {
    answer = await askHttp({
      url,
      method: "POST",
      headers: {
        "authorization": `Basic ${basic}`,
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
      },
      body: form.toString(),
      ca,
    });
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    throw endpointError(url, error.message, hintFor(error.message, source.ca), error);
  }
  return readAnswer(answer, source, nowMs);
}

function hintFor(reason: string, ca: string | null): string {
  if (!reason.includes("certificate")) return "Check sasl.oauthbearer.token_endpoint_url and the network";
  return ca === null
    ? "Set sasl.oauthbearer.ca_file to the CA that signed its certificate"
    : "Correct sasl.oauthbearer.ca_file: it has to hold the CA that signed its certificate";
}

function readAnswer({ status, body }: HttpAnswer, source: OidcSource, nowMs: number): OAuthToken {
  const { url, clientId, clientSecret } = source;
  let answer: TokenAnswer = {};
  try {
    answer = (JSON.parse(body) ?? {}) as TokenAnswer;
  } catch {
    // Told below by what is missing from it.
  }
  if (status !== 200) {
    const basic = Buffer.from(`${clientId}:${clientSecret}`).toString("base64");
    const words = [answer.error, answer.error_description].filter((each) => typeof each === "string");
    const said = words.length === 0 ? "" : `: ${shown(words.join(", "), [clientSecret, basic])}`;
    const isRefused = status === 400 || status === 401 || status === 403;
    throw new ConnectError(
      isRefused ? "oauth-refused" : "oauth-endpoint",
      `Cannot get a token from ${JSON.stringify(url)}: it answers ${status}${said}`,
      {
        hint: isRefused
          ? "Correct sasl.oauthbearer.client_id, client_secret and scope, and look into the provider's log"
          : "Check sasl.oauthbearer.token_endpoint_url, and look into the provider's log",
      },
    );
  }
  const { access_token: value, expires_in: expiresIn } = answer;
  if (typeof value !== "string" || value === "") {
    const hint =
      "Check sasl.oauthbearer.token_endpoint_url: it is often .../oauth2/token or .../protocol/openid-connect/token";
    throw endpointError(url, 'its answer holds no "access_token"', hint);
  }
  const lifeSeconds = Number(expiresIn);
  // What the broker goes by is in the token, in whole seconds: it may end earlier than what is said of it.
  const ends = [lifeSeconds > 0 ? nowMs + lifeSeconds * 1_000 : null, expiryOf(value)].filter((each) =>
    each !== null
  );
  return { value, expiresMs: ends.length === 0 ? null : Math.min(...ends) };
}

function endpointError(url: string, reason: string, hint: string, cause?: unknown): ConnectError {
  const message = `Cannot get a token from ${JSON.stringify(url)}: ${reason}`;
  return new ConnectError("oauth-endpoint", message, { hint, cause });
}
