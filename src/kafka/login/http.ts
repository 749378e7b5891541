/** Requests to where tokens and credentials come from: few, small, and never waited for long. */
export interface HttpRequest {
  readonly url: string;
  readonly method?: "GET" | "POST" | "PUT";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** PEM; default: the system's authorities. */
  readonly ca?: readonly string[] | null;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Not by a proxy that the environment names (HTTP_PROXY): it is a service of this host. */
  readonly isLocal?: boolean;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** No answer came. `message` tells why, and goes after a colon or into parentheses. */
export class HttpError extends Error {
  override readonly name = "HttpError";
}

const TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 1024 * 1024;

/** Asks once. Redirects are not followed: what is sent is secret. Rejects with HttpError. */
export async function askHttp(request: HttpRequest): Promise<HttpAnswer> {
  const { url, method = "GET", headers = {}, body, ca = null, timeoutMs = TIMEOUT_MS, signal } = request;
  // Bun takes false for "none"; its types do not know that.
  const proxy = request.isLocal === true ? { proxy: false as unknown as string } : {};
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const answer = await fetch(url, {
      method,
      headers,
      redirect: "manual",
      ...proxy,
      signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
      ...(body === undefined ? {} : { body }),
      ...(ca === null ? {} : { tls: { ca: [...ca] } }),
    });
    return { status: answer.status, body: await readBody(answer) };
  } catch (error) {
    if (error instanceof HttpError) throw error;
    if (timeout.aborted) throw new HttpError(`no answer within ${timeoutMs} ms`);
    throw new HttpError(reasonOf(error), { cause: error });
  }
}

async function readBody(answer: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const reader = answer.body?.getReader();
  if (reader === undefined) return "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks).toString("utf8");
    bytes += value.length;
    if (bytes > ANSWER_BYTES_MAX) {
      await reader.cancel();
      throw new HttpError(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`);
    }
    chunks.push(value);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ConnectionRefused: "nothing listens there",
  ECONNREFUSED: "nothing listens there",
  FailedToOpenSocket: "there is no connection to it",
  ConnectionClosed: "it closed the connection",
  ECONNRESET: "it closed the connection",
  ENOTFOUND: "its name cannot be resolved",
  ERR_INVALID_URL: "it is no URL",
};

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (/CERT|SELF_SIGNED|ISSUER|VERIFY/u.test(code)) return `its certificate is not trusted here (${code})`;
  const known = REASONS[code];
  if (known !== undefined) return `${known} (${code})`;
  return error instanceof Error ? `${error.message}${code === "" ? "" : ` (${code})`}` : String(error);
}

const SHOWN_MAX = 200;

/** A peer's words, made fit for a log: one line, not long, without what must not be shown. */
export function shown(text: string, secrets: readonly string[] = []): string {
  const masked = secrets.filter((each) => each !== "").reduce(
    (rest, each) => rest.replaceAll(each, "***"),
    text,
  );
  const line = masked.replace(/[\p{Cc}\s]+/gu, " ").trim();
  return line.length <= SHOWN_MAX ? line : `${line.slice(0, SHOWN_MAX)}...`;
}
