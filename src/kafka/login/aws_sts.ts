import { readFile } from "node:fs/promises";
import type { AwsEnvironment } from "../../config/config_security.ts";
import { awsError } from "./aws_metadata.ts";
import { type AwsCredentials, signHeaders } from "./aws_signature.ts";
import { askHttp, HttpError, shown } from "./http.ts";

/** Roles, from AWS's Security Token Service. */
export interface StsOptions {
  readonly region: string;
  readonly env: AwsEnvironment;
  readonly now: () => number;
}

const VERSION = "2011-06-15";
const CONTENT_TYPE = "application/x-www-form-urlencoded; charset=utf-8";

/** AssumeRole with other credentials. Rejects with ConnectError "aws-credentials". */
export function assumeRole(
  roleArn: string,
  base: AwsCredentials,
  externalId: string | null,
  options: StsOptions,
): Promise<AwsCredentials> {
  const form = new URLSearchParams({
    Action: "AssumeRole",
    Version: VERSION,
    RoleArn: roleArn,
    RoleSessionName: sessionName(options.env),
  });
  if (externalId !== null) form.set("ExternalId", externalId);
  return askSts(form, roleArn, base, options);
}

/** AssumeRoleWithWebIdentity (EKS service accounts): the token of a file stands for credentials. Null: not set up. */
export async function webIdentityCredentials(options: StsOptions): Promise<AwsCredentials | null> {
  const { AWS_WEB_IDENTITY_TOKEN_FILE: path, AWS_ROLE_ARN: roleArn } = options.env;
  if (path === undefined || roleArn === undefined) return null;
  const token = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw awsError(
      `AWS_WEB_IDENTITY_TOKEN_FILE ${JSON.stringify(path)} cannot be read (${error.code ?? "unknown error"})`,
      "Give the user that runs shipper the right to read it",
    );
  });
  const form = new URLSearchParams({
    Action: "AssumeRoleWithWebIdentity",
    Version: VERSION,
    RoleArn: roleArn,
    RoleSessionName: sessionName(options.env),
    WebIdentityToken: token.trim(),
  });
  return await askSts(form, roleArn, null, options);
}

function sessionName(env: AwsEnvironment): string {
  return env.AWS_ROLE_SESSION_NAME ?? "shipper";
}

async function askSts(
  form: URLSearchParams,
  roleArn: string,
  base: AwsCredentials | null,
  { region, env, now }: StsOptions,
): Promise<AwsCredentials> {
  const suffix = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  const url = new URL(env.AWS_ENDPOINT_URL_STS ?? `https://sts.${region}.${suffix}/`);
  const body = form.toString();
  const headers = { "content-type": CONTENT_TYPE };
  const request = {
    method: "POST" as const,
    host: url.host,
    path: url.pathname,
    service: "sts",
    region,
    nowMs: now(),
  };
  const signature = base === null ? {} : signHeaders(request, {}, headers, body, base);
  const what = `role ${JSON.stringify(roleArn)}`;
  const answer = await askHttp({ url: url.href, method: "POST", headers: { ...headers, ...signature }, body })
    .catch((error: unknown) => {
      if (!(error instanceof HttpError)) throw error;
      throw awsError(
        `no answer for ${what} from ${url.origin}: ${error.message}`,
        "Check the network and sasl.aws.region",
      );
    });
  if (answer.status !== 200) {
    const said = element(answer.body, "Code") ?? "no reason";
    const message = element(answer.body, "Message");
    const words = message === null ? said : `${said}: ${message}`;
    throw awsError(
      `${url.origin} refuses ${what} with ${answer.status} (${shown(words)})`,
      "Check the role's name, its trust policy, and the right to sts:AssumeRole",
    );
  }
  return readRole(answer.body, what, url.origin);
}

function readRole(body: string, what: string, origin: string): AwsCredentials {
  const id = element(body, "AccessKeyId");
  const secret = element(body, "SecretAccessKey");
  const token = element(body, "SessionToken");
  if (id === null || secret === null || token === null) {
    throw awsError(
      `${origin} gave no credentials for ${what}`,
      "Check AWS_ENDPOINT_URL_STS and sasl.aws.region",
    );
  }
  const expiresMs = Date.parse(element(body, "Expiration") ?? "");
  return {
    accessKeyId: id,
    secretAccessKey: secret,
    sessionToken: token,
    expiresMs: Number.isNaN(expiresMs) ? null : expiresMs,
  };
}

/** The text of the first XML element of a name. The values that are taken this way hold no entities. */
function element(xml: string, name: string): string | null {
  return new RegExp(`<${name}>([^<]*)</${name}>`, "u").exec(xml)?.[1]?.trim() ?? null;
}
