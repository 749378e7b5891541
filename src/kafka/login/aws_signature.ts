import { createHash, createHmac } from "node:crypto";

/**
 * AWS Signature Version 4. Own code: the official SDK would be ten times the size of the rest of the login, and this is three hashes.
 * Compared with AWS's published examples in tests.
 */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | null;
  /** Milliseconds since the epoch; null: they do not end. */
  readonly expiresMs: number | null;
}

export interface SignedRequest {
  readonly method: "GET" | "POST";
  readonly host: string;
  readonly path: string;
  readonly service: string;
  readonly region: string;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

const ALGORITHM = "AWS4-HMAC-SHA256";

/** The query of a presigned URL, by name, with X-Amz-Signature. `payloadHash`: SHA-256 of the body in hex, or "UNSIGNED-PAYLOAD". */
export function presign(
  request: SignedRequest,
  query: Readonly<Record<string, string>>,
  credentials: AwsCredentials,
  options: { readonly expiresSeconds: number; readonly payloadHash: string },
): Record<string, string> {
  const { time, scope } = scopeOf(request);
  const signed: Record<string, string> = {
    ...query,
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": `${credentials.accessKeyId}/${scope}`,
    "X-Amz-Date": time,
    "X-Amz-Expires": String(options.expiresSeconds),
    "X-Amz-SignedHeaders": "host",
    ...(credentials.sessionToken === null ? {} : { "X-Amz-Security-Token": credentials.sessionToken }),
  };
  const signature = sign(request, signed, { host: request.host }, options.payloadHash, credentials);
  return { ...signed, "X-Amz-Signature": signature };
}

/** The headers to add, among them Authorization. `headers` by their names in lower case; Host is added. */
export function signHeaders(
  request: SignedRequest,
  query: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>>,
  body: string,
  credentials: AwsCredentials,
): Record<string, string> {
  const { time, scope } = scopeOf(request);
  const token = credentials.sessionToken;
  const added = { "x-amz-date": time, ...(token === null ? {} : { "x-amz-security-token": token }) };
  const signed = { ...headers, ...added, host: request.host };
  const signature = sign(request, query, signed, sha256(body), credentials);
  const names = Object.keys(signed).sort().join(";");
  const credential = `Credential=${credentials.accessKeyId}/${scope}`;
  return {
    ...added,
    authorization: `${ALGORITHM} ${credential}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

/** SHA-256 in hex. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function scopeOf({ nowMs, region, service }: SignedRequest): { time: string; scope: string } {
  const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d{3}/gu, "");
  return { time, scope: `${time.slice(0, 8)}/${region}/${service}/aws4_request` };
}

function sign(
  request: SignedRequest,
  query: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>>,
  payloadHash: string,
  { secretAccessKey }: AwsCredentials,
): string {
  const { time, scope } = scopeOf(request);
  const names = Object.keys(headers).sort();
  const canonical = [
    request.method,
    request.path,
    canonicalQuery(query),
    ...names.map((name) => `${name}:${headers[name]!.trim()}`),
    "",
    names.join(";"),
    payloadHash,
  ].join("\n");
  const text = [ALGORITHM, time, scope, sha256(canonical)].join("\n");
  const key = scope.split("/").reduce<string | Buffer>(
    (last, part) => createHmac("sha256", last).update(part).digest(),
    `AWS4${secretAccessKey}`,
  );
  return createHmac("sha256", key).update(text).digest("hex");
}

function canonicalQuery(query: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(query).map(([name, value]) => [encode(name), encode(value)] as const);
  return pairs.sort(([a], [b]) => a < b ? -1 : 1).map(([name, value]) => `${name}=${value}`).join("&");
}

/** RFC 3986: stricter than encodeURIComponent. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/gu,
    (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
