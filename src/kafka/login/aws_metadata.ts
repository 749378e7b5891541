import { readFile } from "node:fs/promises";
import type { AwsEnvironment } from "../../config/config_security.ts";
import { ConnectError } from "../errors.ts";
import type { AwsCredentials } from "./aws_signature.ts";
import { askHttp, type HttpAnswer, HttpError, type HttpRequest, shown } from "./http.ts";

/** Credentials that the host gives: of a container (ECS, EKS Pod Identity) and of an instance (IMDSv2). */

const ECS_ADDRESS = "http://169.254.170.2";
const IMDS_ADDRESS = "http://169.254.169.254";
/** Off AWS nothing answers there, and a start must not wait for that long. */
const IMDS_TIMEOUT_MS = 1_000;
const IMDS_TOKEN_SECONDS = "300";
/** Hosts that may get the container's token over plain HTTP. */
const LOCAL_HOSTS = /^(localhost|127(\.\d+){3}|\[::1\]|169\.254\.170\.(2|23)|\[fd00:ec2::23\])$/u;

interface Given {
  readonly AccessKeyId?: unknown;
  readonly SecretAccessKey?: unknown;
  readonly Token?: unknown;
  readonly SessionToken?: unknown;
  readonly Expiration?: unknown;
}

/** Null: this host has no such thing. Rejects with ConnectError when it has, and it does not work. */
export async function containerCredentials(env: AwsEnvironment): Promise<AwsCredentials | null> {
  const relative = env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI;
  const full = env.AWS_CONTAINER_CREDENTIALS_FULL_URI;
  if (relative === undefined && full === undefined) return null;
  const url = relative === undefined ? full! : `${ECS_ADDRESS}${relative}`;
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || (parsed.protocol !== "https:" && !LOCAL_HOSTS.test(parsed.hostname))) {
    throw awsError(
      `AWS_CONTAINER_CREDENTIALS_FULL_URI ${
        JSON.stringify(url)
      } is neither https nor an address of this host`,
      "Correct or unset AWS_CONTAINER_CREDENTIALS_FULL_URI",
    );
  }
  const token = await containerToken(env);
  const headers = token === null ? {} : { authorization: token };
  const answer = await ask({ url, headers }, "the container's credential service");
  return parseCredentials(answer.body, "the container's credential service");
}

async function containerToken(env: AwsEnvironment): Promise<string | null> {
  const path = env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE;
  if (path === undefined) return env.AWS_CONTAINER_AUTHORIZATION_TOKEN ?? null;
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    throw awsError(
      `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE ${JSON.stringify(path)} cannot be read (${code})`,
      "Give the user that runs shipper the right to read it",
    );
  }
}

/** Null: no instance profile, no metadata service, or it is switched off. */
export async function instanceCredentials(env: AwsEnvironment): Promise<AwsCredentials | null> {
  if (env.AWS_EC2_METADATA_DISABLED?.toLowerCase() === "true") return null;
  const base = (env.AWS_EC2_METADATA_SERVICE_ENDPOINT ?? IMDS_ADDRESS).replace(/\/+$/u, "");
  const roles = `${base}/latest/meta-data/iam/security-credentials/`;
  let token: HttpAnswer;
  try {
    token = await askHttp({
      url: `${base}/latest/api/token`,
      method: "PUT",
      headers: { "x-aws-ec2-metadata-token-ttl-seconds": IMDS_TOKEN_SECONDS },
      timeoutMs: IMDS_TIMEOUT_MS,
      isLocal: true,
    });
  } catch (error) {
    if (error instanceof HttpError) return null; // not on an instance
    throw error;
  }
  if (token.status !== 200) return null;
  const headers = { "x-aws-ec2-metadata-token": token.body.trim() };
  const found = await askHttp({ url: roles, headers, isLocal: true }).catch((error: unknown) => {
    throw unanswered(error, "the instance's metadata service");
  });
  if (found.status === 404) return null; // an instance without a profile
  const [role] = found.body.trim().split("\n");
  const url = `${roles}${encodeURIComponent(role ?? "")}`;
  const answer = await ask({ url, headers }, "the instance's metadata service");
  return parseCredentials(answer.body, "the instance's metadata service");
}

async function ask(request: HttpRequest, who: string): Promise<HttpAnswer> {
  const answer = await askHttp({ ...request, isLocal: true }).catch((error: unknown) => {
    throw unanswered(error, who);
  });
  if (answer.status === 200) return answer;
  throw awsError(`${who} answers ${answer.status}`, "Check the role of this host, or set sasl.aws.profile");
}

function unanswered(error: unknown, who: string): unknown {
  if (!(error instanceof HttpError)) return error;
  return awsError(`${who} gives no answer: ${error.message}`, "Check the network of this host");
}

/** The JSON that these services, and a credential_process, give. */
export function parseCredentials(text: string, who: string): AwsCredentials {
  let given: Given = {};
  try {
    given = (JSON.parse(text) ?? {}) as Given;
  } catch {
    // Told below by what is missing from it.
  }
  const { AccessKeyId: id, SecretAccessKey: secret, Expiration: expiration } = given;
  if (typeof id !== "string" || typeof secret !== "string") {
    throw awsError(
      `${shown(who)} gave no AccessKeyId and SecretAccessKey`,
      "Look what it prints, without its secrets",
    );
  }
  const token = given.Token ?? given.SessionToken;
  const expiresMs = typeof expiration === "string" ? Date.parse(expiration) : NaN;
  return {
    accessKeyId: id,
    secretAccessKey: secret,
    sessionToken: typeof token === "string" && token !== "" ? token : null,
    expiresMs: Number.isNaN(expiresMs) ? null : expiresMs,
  };
}

/** `state` goes after "Cannot find AWS credentials: ". */
export function awsError(state: string, hint: string, cause?: unknown): ConnectError {
  return new ConnectError("aws-credentials", `Cannot find AWS credentials: ${state}`, { hint, cause });
}
