/** Request line and header fields, with the empty line behind them. */
export const HEAD_BYTES_MAX = 16_384;
/** Nothing here takes a body; a short one is passed over. */
export const BODY_BYTES_MAX = 1_024;

/** A request as it is asked for; its body, of `bodyBytes`, follows the head. */
export interface RequestHead {
  readonly request: Request;
  readonly bodyBytes: number;
  /** The connection may serve another one. */
  readonly keepsAlive: boolean;
}

/** Why a request is not answered as it asks: a status of HTTP. */
export type Refusal = 400 | 413 | 431 | 501 | 505;

const REQUEST_LINE = /^([A-Z]{1,16}) ([!-~]+) HTTP\/(\d)\.(\d)$/;
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/;
/** What HTTP allows in a value: no control character but tab. */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Where the head ends, behind its empty line; -1: not all of it is there. */
export function headEnd(bytes: Buffer): number {
  const at = bytes.indexOf("\r\n\r\n");
  return at < 0 ? -1 : at + 4;
}

/**
 * Reads a head (RFC 9112), up to and with its empty line. Strict: whatever could be read in two ways is refused, so that nothing in front of this server and it
 * can take one request for another.
 */
export function parseHead(head: Buffer): RequestHead | Refusal {
  const [first, ...fields] = head.toString("latin1").slice(0, -4).split("\r\n");
  const line = REQUEST_LINE.exec(first!);
  if (line === null) return 400;
  const [, method, target, major, minor] = line as unknown as [string, string, string, string, string];
  if (major !== "1") return 505;
  const headers = new Headers();
  const seen = new Map<string, string>();
  for (const field of fields) {
    const parts = FIELD_LINE.exec(field);
    if (parts === null || !FIELD_VALUE.test(parts[2]!)) return 400;
    const name = parts[1]!.toLowerCase();
    if (seen.has(name) && (name === "host" || name === "content-length")) return 400;
    seen.set(name, parts[2]!);
    headers.append(name, parts[2]!);
  }
  if (minor !== "0" && !seen.has("host")) return 400;
  if (seen.has("transfer-encoding")) return 501;
  const length = seen.get("content-length") ?? "0";
  if (!/^\d{1,15}$/.test(length)) return 400;
  if (Number(length) > BODY_BYTES_MAX) return 413;
  const url = urlOf(target);
  if (url === null) return 400;
  const connection = (seen.get("connection") ?? "").toLowerCase();
  const keepsAlive = minor === "0" ? connection.includes("keep-alive") : !connection.includes("close");
  // A method that Request does not know is none that is served.
  const known = method === "GET" || method === "HEAD" ? method : "POST";
  return { request: new Request(url, { method: known, headers }), bodyBytes: Number(length), keepsAlive };
}

/** The path counts alone: which host is meant is in a field of its own. */
function urlOf(target: string): string | null {
  const path = target.startsWith("/") ? target : /^https?:\/\/[^/?#]+(\/.*)?$/i.exec(target)?.[1] ?? null;
  if (path === null) return target === "*" ? "http://localhost/*" : null;
  const url = `http://localhost${path}`;
  return URL.canParse(url) ? url : null;
}
