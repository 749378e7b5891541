import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { type Certificates, makeCertificates } from "../../../scripts/lib/kafka_certificates.ts";
import { makeToken } from "../../../scripts/lib/kafka_tokens.ts";
import type { OAuthSasl, OAuthTokenSource } from "../../../src/config/config_security.ts";
import { createLogin, type TokenLogin } from "../../../src/kafka/login/login.ts";
import { ApiKey } from "../../../src/kafka/protocol/api_keys.ts";
import { FakeBroker } from "../../support/fake_broker.ts";
import { tempDir } from "../../support/temp_dir.ts";
import { TokenProvider } from "../../support/token_provider.ts";
import { connectTo, failureOf, silentLog } from "../support.ts";

// What a login says to brokers and providers, and what is said of it. Real brokers: tests/integration/login_shipping_test.ts.

const dir = tempDir("login");
const CLIENT = { id: "shipper", secret: "client-secret-7731" };
let files: Certificates;
let nowMs = Date.now();
beforeAll(async () => {
  files = await makeCertificates(dir.file("certificates"));
});
beforeEach(() => nowMs = Date.now());

type Oidc = Extract<OAuthTokenSource, { kind: "oidc" }>;

function oauth(source: OAuthTokenSource, extensions: OAuthSasl["extensions"] = {}): TokenLogin {
  const sasl = { mechanism: "OAUTHBEARER", source, extensions } as const;
  return createLogin(sasl, { log: silentLog, now: () => nowMs }) as TokenLogin;
}

function oidcAt(url: string, facts: Partial<Oidc> = {}): Oidc {
  const client = { clientId: CLIENT.id, clientSecret: CLIENT.secret, scope: null, audience: null };
  return { kind: "oidc", url, ca: files.ca, ...client, ...facts };
}

async function wordsOf(login: TokenLogin): Promise<string[]> {
  const { code, message, hint } = await failureOf(login.prepare("broker"));
  return [code, message.replaceAll(/localhost:\d+/gu, "HOST").replaceAll(dir.path, "DIR"), hint!];
}

describe("OAUTHBEARER", () => {
  test("the first message has the token and the extensions between its separators", async () => {
    const { bytes, note } = await oauth({ kind: "token", token: "abc.def_~+/=" }, {
      traceId: "7",
      pool: "a=b",
    }).prepare("b");
    expect(bytes.toString()).toBe(
      "n,,\u0001auth=Bearer abc.def_~+/=\u0001traceId=7\u0001pool=a=b\u0001\u0001",
    );
    expect(note).toBeNull();
  });

  test("token files that cannot be used, in words", async () => {
    const path = dir.file("token");
    const words = () => wordsOf(oauth({ kind: "file", path }));
    expect(await words()).toEqual([
      "oauth-token-file",
      'Cannot log in: sasl.oauthbearer.token_file "DIR/token" cannot be read (ENOENT)',
      "Correct the path in the configuration",
    ]);
    const broken = 'Cannot log in: sasl.oauthbearer.token_file "DIR/token" holds no bearer token';
    writeFileSync(path, "");
    expect(await words()).toEqual(["oauth-token", broken, "It is empty: write the token into it"]);
    for (const text of ["abc def", "abc\u0001auth=x", "abc\nx=y", "ä"]) {
      writeFileSync(path, text);
      expect(await words()).toEqual([
        "oauth-token",
        broken,
        "A token has letters, digits and . _ ~ + / - alone, in one line",
      ]);
    }
    writeFileSync(path, "a".repeat(70_000));
    expect((await words())[1]).toContain("is larger than 65536 bytes");
    writeFileSync(path, "good\r\n");
    chmodSync(path, 0o600);
    expect((await oauth({ kind: "file", path }).prepare("b")).bytes.toString()).toContain(
      "Bearer good\u0001",
    );
  });
});

describe("a provider of tokens", () => {
  let provider: TokenProvider;
  beforeEach(() => provider = new TokenProvider(files, CLIENT));
  afterEach(() => provider[Symbol.dispose]());

  test("is asked once for all connections, and again after half of the token's life", async () => {
    const give = () => Response.json({ access_token: `t${provider.requests.length}`, expires_in: 100 });
    provider.answer = give;
    const login = oauth(oidcAt(provider.url));
    const first = await Promise.all(Array.from({ length: 10 }, () => login.prepare("b")));
    expect(new Set(first.map(({ bytes }) => String(bytes))).size).toBe(1);
    nowMs += 48_000;
    await login.prepare("b");
    expect(provider.requests).toHaveLength(1);
    nowMs += 3_000;
    await login.prepare("b");
    expect(provider.requests).toHaveLength(2);
    provider.answer = () => new Response("", { status: 500 });
    nowMs += 60_000;
    // The one before still does, until it ends.
    await login.prepare("b");
    expect(provider.requests).toHaveLength(3);
    nowMs += 60_000;
    expect((await wordsOf(login))[0]).toBe("oauth-endpoint");
    provider.answer = give;
    await login.prepare("b");
  });

  test("is asked each time when nobody says how long a token lives", async () => {
    provider.answer = () => Response.json({ access_token: "opaque" });
    const login = oauth(oidcAt(provider.url));
    await login.prepare("b");
    await login.prepare("b");
    expect(provider.requests).toHaveLength(2);
  });

  test("and what it answers, in words without secrets", async () => {
    const correct =
      "Correct sasl.oauthbearer.client_id, client_secret and scope, and look into the provider's log";
    const refused = await wordsOf(oauth(oidcAt(provider.url, { clientSecret: "wrong-secret-1" })));
    expect(refused).toEqual([
      "oauth-refused",
      'Cannot get a token from "https://HOST/token": it answers 401: invalid_client, Basic *** is not known',
      correct,
    ]);
    const words = () => wordsOf(oauth(oidcAt(provider.url)));
    provider.answer = () => new Response("busy", { status: 503 });
    expect(await words()).toEqual([
      "oauth-endpoint",
      'Cannot get a token from "https://HOST/token": it answers 503',
      "Check sasl.oauthbearer.token_endpoint_url, and look into the provider's log",
    ]);
    const path =
      "Check sasl.oauthbearer.token_endpoint_url: it is often .../oauth2/token or .../protocol/openid-connect/token";
    for (const body of ["<html>", "null", "{}", "[]", '{"access_token":7}']) {
      provider.answer = () => new Response(body);
      expect(await words()).toEqual([
        "oauth-endpoint",
        'Cannot get a token from "https://HOST/token": its answer holds no "access_token"',
        path,
      ]);
    }
    provider.answer = () => Response.json({ access_token: "two words" });
    expect((await words())[1]).toBe("Cannot log in: the token endpoint's answer holds no bearer token");
    provider.answer = () => Response.redirect("https://example.org/", 302);
    expect((await words())[1]).toBe('Cannot get a token from "https://HOST/token": it answers 302');
    provider.answer = () => new Response("x".repeat(2_000_000));
    expect((await words())[1]).toEndWith("the answer is larger than 1048576 bytes");
  });

  test("that is not trusted, not there, or no URL", async () => {
    const other = await wordsOf(oauth(oidcAt(provider.url, { ca: files.otherCa })));
    expect(other[1]).toMatch(/"https:\/\/HOST\/token": its certificate is not trusted here \([A-Z_]+\)$/u);
    expect(other[2]).toBe(
      "Correct sasl.oauthbearer.ca_file: it has to hold the CA that signed its certificate",
    );
    const none = await wordsOf(oauth(oidcAt(provider.url, { ca: null })));
    expect(none[2]).toBe("Set sasl.oauthbearer.ca_file to the CA that signed its certificate");
    expect((await wordsOf(oauth(oidcAt("https://localhost:1/t"))))[1]).toMatch(
      /^Cannot get a token from "https:\/\/HOST\/t": nothing listens there \(/u,
    );
    const missing = await wordsOf(oauth(oidcAt(provider.url, { ca: "/nope" })));
    expect(missing[1]).toBe('Cannot set up TLS: sasl.oauthbearer.ca_file "/nope" cannot be read (ENOENT)');
  });

  test("whose token ends before it says", async () => {
    const short = makeToken(files.tokenKey, { sub: "admin", lifeSeconds: 10 });
    provider.answer = () => Response.json({ access_token: short, expires_in: 3_600 });
    const login = oauth(oidcAt(provider.url));
    await login.prepare("b");
    nowMs += 6_000;
    await login.prepare("b");
    expect(provider.requests).toHaveLength(2);
  });
});

describe("AWS_MSK_IAM at a broker that speaks it", () => {
  const env = { AWS_ACCESS_KEY_ID: "AKID", AWS_SECRET_ACCESS_KEY: "aws-secret-key" };
  const sasl = {
    mechanism: "AWS_MSK_IAM",
    region: "eu-west-1",
    profile: null,
    assumeRole: null,
    env,
  } as const;

  function answerOf(errorCode: number, message: string | null, bytes: string, lifetimeMs: number): Buffer {
    const words = message === null ? [] : [Buffer.from(message)];
    const head = Buffer.alloc(4);
    head.writeInt16BE(errorCode, 0);
    head.writeInt16BE(message === null ? -1 : message.length, 2);
    const tail = Buffer.alloc(4 + bytes.length + 8);
    tail.writeInt32BE(bytes.length, 0);
    tail.write(bytes, 4);
    tail.writeBigInt64BE(BigInt(lifetimeMs), 4 + bytes.length);
    return Buffer.concat([head, ...words, tail]);
  }

  async function brokerWith(answer: () => Buffer): Promise<FakeBroker> {
    const broker = await FakeBroker.start();
    const names = Buffer.from("\0\0\0\0\0\x01\0\x0bAWS_MSK_IAM", "latin1");
    broker.handlers.set(ApiKey.SaslHandshake, () => ({ body: names }));
    broker.handlers.set(ApiKey.SaslAuthenticate, () => ({ body: answer() }));
    broker.handlers.set(ApiKey.Metadata, () => ({ body: Buffer.alloc(20) }));
    return broker;
  }

  const messages = (broker: FakeBroker) =>
    broker.requests.filter(({ apiKey }) => apiKey === ApiKey.SaslAuthenticate)
      .map(({ body }) => JSON.parse(body.subarray(4).toString()) as Record<string, string>);

  test("logs in, and signs anew when the session has to be renewed", async () => {
    const broker = await brokerWith(() => answerOf(0, null, '{"version":"2020_10_22"}', 1_300));
    const login = createLogin(sasl, { log: silentLog, now: () => nowMs });
    const connection = await connectTo(broker.port, { login });
    await Bun.sleep(1_200);
    nowMs += 5_000;
    await connection.request(ApiKey.Metadata, 5, [], { timeoutMs: 2_000 });
    const [first, second] = messages(broker);
    expect(broker.connectionsCount).toBe(1);
    expect(first).toMatchObject({ host: "127.0.0.1", action: "kafka-cluster:Connect" });
    expect(second!["x-amz-signature"]).not.toBe(first!["x-amz-signature"]);
    connection.close();
    await broker.stop();
  });

  test("is refused in words, without secrets", async () => {
    const broker = await brokerWith(() => answerOf(58, "Access denied", "", 0));
    const login = createLogin(sasl, { log: silentLog, now: () => nowMs });
    const { code, message, hint } = await failureOf(connectTo(broker.port, { login }));
    expect([code, message, hint]).toEqual([
      "sasl-refused",
      `Cannot connect to broker "${broker.address}": it refused SASL AWS_MSK_IAM authentication (Access denied)`,
      "Check the policy of this identity (kafka-cluster:Connect), sasl.aws.region, and this host's clock",
    ]);
    await broker.stop();
  });
});
