import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import type { AwsEnvironment, AwsSasl } from "../../../src/config/config_security.ts";
import { ConnectError } from "../../../src/kafka/errors.ts";
import { AwsCredentialChain } from "../../../src/kafka/login/aws_credentials.ts";
import { parseProfiles } from "../../../src/kafka/login/aws_profile.ts";
import type { AwsCredentials } from "../../../src/kafka/login/aws_signature.ts";
import { type TempDir, tempDir } from "../../support/temp_dir.ts";

// Every place that credentials come from, with services of a test's own in the place of AWS's.

const NOW_MS = Date.UTC(2026, 0, 31);
const ROLE = "arn:aws:iam::111122223333:role/log-writer";
type Handler = (request: Request, path: string, body: string) => Response | Promise<Response>;

let dir: TempDir;
let seen: {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}[];
let handler: Handler;
let server: ReturnType<typeof Bun.serve>;
beforeEach(() => {
  dir = tempDir("aws");
  seen = [];
  handler = () => new Response("no such thing", { status: 404 });
  server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const path = new URL(request.url).pathname;
      const body = await request.text();
      seen.push({ method: request.method, path, headers: request.headers, body });
      return await handler(request, path, body);
    },
  });
});
afterEach(() => {
  void server.stop(true);
  dir.remove();
});

const url = () => `http://127.0.0.1:${server.port}`;

/** Without the address of a real instance: on one these tests would find its role. */
function find(env: AwsEnvironment, options: Partial<AwsSasl> = {}): Promise<AwsCredentials> {
  const around = { HOME: dir.path, AWS_EC2_METADATA_DISABLED: "true", AWS_ENDPOINT_URL_STS: url() };
  const none = { profile: null, assumeRole: null, region: "eu-central-1", mechanism: "AWS_MSK_IAM" as const };
  return new AwsCredentialChain({ ...none, ...options, env: { ...around, ...env } }, () => NOW_MS).find();
}

async function wordsOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => new Error("It works"), (failure: unknown) => failure);
  if (!(error instanceof ConnectError)) throw error;
  expect(error.code).toBe("aws-credentials");
  expect(error.hint).not.toBeNull();
  return error.message.replaceAll(url(), "URL").replaceAll(dir.path, "DIR");
}

function write(name: string, text: string): string {
  writeFileSync(dir.file(name), text);
  return dir.file(name);
}

const KEYS = { AWS_ACCESS_KEY_ID: "AKENV", AWS_SECRET_ACCESS_KEY: "env-secret" };
const json = (extra: object = {}) =>
  Response.json({ AccessKeyId: "AKHOST", SecretAccessKey: "host-secret", Token: "host-token", ...extra });
const roleXml = (name: string) =>
  `<${name}Response><${name}Result><Credentials><AccessKeyId>AKROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>` +
  `<SessionToken>role-token</SessionToken><Expiration>2026-01-31T01:00:00Z</Expiration></Credentials></${name}Result></${name}Response>`;
const OF_ROLE = {
  accessKeyId: "AKROLE",
  secretAccessKey: "role-secret",
  sessionToken: "role-token",
  expiresMs: Date.UTC(2026, 0, 31, 1),
};

describe("the first place that has some", () => {
  test("the environment, in front of everything else", async () => {
    const config = write(
      "config",
      "[default]\naws_access_key_id = AKFILE\naws_secret_access_key = file-secret\n",
    );
    const env = { ...KEYS, AWS_SESSION_TOKEN: "t", AWS_CONFIG_FILE: config };
    expect(await find(env)).toEqual({
      accessKeyId: "AKENV",
      secretAccessKey: "env-secret",
      sessionToken: "t",
      expiresMs: null,
    });
  });

  test("a profile by name is the only place", async () => {
    const config = write("config", "[default]\n[profile logs]\naws_access_key_id = A\n");
    const credentials = write(
      "credentials",
      "[logs]\naws_access_key_id = AKFILE\naws_secret_access_key = file-secret\n",
    );
    const env = { AWS_CONFIG_FILE: config, AWS_SHARED_CREDENTIALS_FILE: credentials };
    const expected = { accessKeyId: "AKFILE", secretAccessKey: "file-secret", sessionToken: null };
    expect(await find({ ...KEYS, ...env }, { profile: "logs" })).toMatchObject(expected);
    expect(await find({ ...env, AWS_PROFILE: "logs" })).toMatchObject(expected);
    expect(await wordsOf(find({ ...KEYS, ...env }, { profile: "other" }))).toBe(
      'Cannot find AWS credentials: neither ~/.aws/config nor ~/.aws/credentials has a profile "other"',
    );
  });

  test("a credential_process", async () => {
    const output = JSON.stringify({
      Version: 1,
      AccessKeyId: "AKPROC",
      SecretAccessKey: "process-secret",
      Expiration: "2026-01-31T00:30:00Z",
    });
    const config = write("config", `[default]\ncredential_process = printf '%s' '${output}'\n`);
    expect(await find({ AWS_CONFIG_FILE: config })).toEqual({
      accessKeyId: "AKPROC",
      secretAccessKey: "process-secret",
      sessionToken: null,
      expiresMs: Date.UTC(2026, 0, 31, 0, 30),
    });
    write("config", "[default]\ncredential_process = echo process-secret; exit 3\n");
    expect(await wordsOf(find({ AWS_CONFIG_FILE: config }))).toBe(
      'Cannot find AWS credentials: the credential_process of profile "default" ended with 3',
    );
    write("config", "[default]\ncredential_process = echo process-secret\n");
    expect(await wordsOf(find({ AWS_CONFIG_FILE: config }))).toBe(
      'Cannot find AWS credentials: the credential_process of profile "default" gave no AccessKeyId and SecretAccessKey',
    );
  });

  test("a role of a profile, by another one", async () => {
    const config = write(
      "config",
      `[profile logs]\nrole_arn = ${ROLE}\nsource_profile = base\nexternal_id = e-1\n` +
        "[profile base]\naws_access_key_id = AKBASE\naws_secret_access_key = base-secret\n" +
        "[profile a]\nrole_arn = x\nsource_profile = b\n[profile b]\nrole_arn = x\nsource_profile = a\n" +
        "[profile sso]\nsso_session = corp\n",
    );
    handler = () => new Response(roleXml("AssumeRole"));
    const env = { AWS_CONFIG_FILE: config };
    expect(await find(env, { profile: "logs" })).toEqual(OF_ROLE);
    expect(seen[0]!.headers.get("authorization")).toStartWith(
      "AWS4-HMAC-SHA256 Credential=AKBASE/20260131/eu-central-1/sts/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=",
    );
    expect(Object.fromEntries(new URLSearchParams(seen[0]!.body))).toEqual({
      Action: "AssumeRole",
      Version: "2011-06-15",
      RoleArn: ROLE,
      RoleSessionName: "shipper",
      ExternalId: "e-1",
    });
    expect(await wordsOf(find(env, { profile: "a" }))).toBe(
      'Cannot find AWS credentials: profile "a" is one of a ring',
    );
    expect(await wordsOf(find(env, { profile: "sso" }))).toBe(
      'Cannot find AWS credentials: profile "sso" has a login by SSO, which shipper does not do',
    );
  });

  test("a web identity", async () => {
    const token = write("token", "a.b.c\n");
    handler = () => new Response(roleXml("AssumeRoleWithWebIdentity"));
    expect(await find({ AWS_WEB_IDENTITY_TOKEN_FILE: token, AWS_ROLE_ARN: ROLE })).toEqual(OF_ROLE);
    expect(seen[0]!.headers.get("authorization")).toBeNull();
    expect(seen[0]!.body).toContain("WebIdentityToken=a.b.c");
    expect(await wordsOf(find({ AWS_WEB_IDENTITY_TOKEN_FILE: "/nope", AWS_ROLE_ARN: ROLE }))).toBe(
      'Cannot find AWS credentials: AWS_WEB_IDENTITY_TOKEN_FILE "/nope" cannot be read (ENOENT)',
    );
  });

  test("the container", async () => {
    const token = write("token", "container-token\n");
    handler = () => json({ Expiration: "2026-01-31T02:00:00Z" });
    const env = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url()}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
    };
    expect(await find(env)).toEqual({
      accessKeyId: "AKHOST",
      secretAccessKey: "host-secret",
      sessionToken: "host-token",
      expiresMs: Date.UTC(2026, 0, 31, 2),
    });
    expect(seen[0]).toMatchObject({ method: "GET", path: "/v1/credentials" });
    expect(seen[0]!.headers.get("authorization")).toBe("container-token");
    expect(await wordsOf(find({ AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://example.org/x" }))).toContain(
      "is neither https nor an address of this host",
    );
    handler = () => new Response("", { status: 500 });
    expect(await wordsOf(find(env))).toBe(
      "Cannot find AWS credentials: the container's credential service answers 500",
    );
  });

  test("the instance (IMDSv2)", async () => {
    handler = (request, path) => {
      if (request.method === "PUT") return new Response("imds-token");
      if (request.headers.get("x-aws-ec2-metadata-token") !== "imds-token") {
        return new Response("", { status: 401 });
      }
      return path.endsWith("/security-credentials/") ? new Response("edge-role\n") : json();
    };
    const env = { AWS_EC2_METADATA_DISABLED: "false", AWS_EC2_METADATA_SERVICE_ENDPOINT: `${url()}/` };
    expect(await find(env)).toMatchObject({ accessKeyId: "AKHOST", sessionToken: "host-token" });
    expect(seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "PUT /latest/api/token",
      "GET /latest/meta-data/iam/security-credentials/",
      "GET /latest/meta-data/iam/security-credentials/edge-role",
    ]);
  });

  test("nowhere", async () => {
    expect(await wordsOf(find({}))).toBe(
      "Cannot find AWS credentials: none in the environment, in ~/.aws, in the container's or in the instance's metadata",
    );
  });
});

test("a role is assumed with what was found, and its refusal is told without secrets", async () => {
  handler = () => new Response(roleXml("AssumeRole"));
  expect(await find(KEYS, { assumeRole: ROLE })).toEqual(OF_ROLE);
  handler = () =>
    new Response(
      "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not\nauthorized</Message></Error></ErrorResponse>",
      {
        status: 403,
      },
    );
  expect(await wordsOf(find(KEYS, { assumeRole: ROLE }))).toBe(
    `Cannot find AWS credentials: URL refuses role "${ROLE}" with 403 (AccessDenied: not authorized)`,
  );
  handler = () => new Response("<html>");
  expect(await wordsOf(find(KEYS, { assumeRole: ROLE }))).toBe(
    `Cannot find AWS credentials: URL gave no credentials for role "${ROLE}"`,
  );
  handler = () => Response.redirect("http://example.org/", 302);
  expect(await wordsOf(find(KEYS, { assumeRole: ROLE }))).toContain("with 302");
  handler = () => new Response("x".repeat(2_000_000));
  expect(await wordsOf(find(KEYS, { assumeRole: ROLE }))).toContain(
    "the answer is larger than 1048576 bytes",
  );
  void server.stop(true);
  expect(await wordsOf(find(KEYS, { assumeRole: ROLE }))).toMatch(
    /^Cannot find AWS credentials: no answer for role /,
  );
});

test("profiles are read as AWS's tools read them", () => {
  const profiles = parseProfiles(`
# a comment
[default]
region=eu-west-1
[ profile  "logs" ]
AWS_ACCESS_KEY_ID = AK ; of the team
s3 =
  max_concurrent_requests = 20
aws_secret_access_key = a=b#c
`);
  expect([...profiles.keys()]).toEqual(["default", "profile logs"]);
  expect(Object.fromEntries(profiles.get("profile logs")!)).toEqual({
    aws_access_key_id: "AK",
    s3: "",
    aws_secret_access_key: "a=b#c",
  });
});

test("services of this host are not asked by a proxy", async () => {
  handler = () => json();
  const script = `
    const { containerCredentials } = await import(${
    JSON.stringify(new URL("../../../src/kafka/login/aws_metadata.ts", import.meta.url).pathname)
  });
    console.log((await containerCredentials({ AWS_CONTAINER_CREDENTIALS_FULL_URI: "${url()}/v1" })).accessKeyId);`;
  // Nothing listens there.
  const env = {
    ...process.env,
    HTTP_PROXY: "http://127.0.0.1:9",
    http_proxy: "http://127.0.0.1:9",
    NO_PROXY: "",
    no_proxy: "",
  };
  const child = Bun.spawn([process.execPath, "-e", script], { env, stdout: "pipe", stderr: "inherit" });
  expect(await new Response(child.stdout).text()).toBe("AKHOST\n");
});
