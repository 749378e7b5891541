import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, readFileSync } from "node:fs";
import type { Certificates } from "../../scripts/lib/kafka_certificates.ts";
import type { ListenerName } from "../../scripts/lib/kafka_properties.ts";
import type {
  PasswordMechanism,
  PasswordSasl,
  SaslConfig,
  TlsConfig,
} from "../../src/config/config_security.ts";
import { Cluster } from "../../src/kafka/cluster.ts";
import { diagnoseCluster } from "../../src/kafka/cluster_health.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { encodeMetadata } from "../../src/kafka/protocol/metadata.ts";
import type { HealthFailure } from "../../src/sink/sink.ts";
import { failureOf, newCluster } from "../kafka/support.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { tempDir } from "../support/temp_dir.ts";

/** Brokers refuse to be asked again within a second. */
const REAUTHENTICATION_MS = 2_000;
const AWS_KEYS = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "wrong-pass" };
const never = new AbortController().signal;
const cleanups: (() => unknown)[] = [];
let own: OwnCluster;
let files: Certificates;

beforeAll(async () => {
  own = await ownCluster({
    security: "sasl_ssl",
    acl: true,
    settings: {
      "listener.name.ssl.ssl.client.auth": "required",
      "listener.name.sasl_plaintext.scram-sha-512.connections.max.reauth.ms": String(REAUTHENTICATION_MS),
    },
  });
  files = own.kafka.certificates!;
  // Starts the reader: Java takes longer than a test may.
  await own.kafka.createTopic();
}, 300_000);
afterAll(async () => {
  for (const cleanup of cleanups) cleanup();
  await own.stop();
});

function tls(overrides: Partial<TlsConfig> = {}): TlsConfig {
  return {
    ca: files.ca,
    crt: null,
    key: null,
    keyPass: null,
    verifyHostname: true,
    serverName: null,
    ...overrides,
  };
}

function sasl(mechanism: PasswordMechanism, overrides: Partial<PasswordSasl> = {}): SaslConfig {
  return { mechanism, username: "admin", password: "admin-secret", ...overrides };
}

function clusterAt(
  listener: ListenerName,
  tlsConfig: TlsConfig | null,
  saslConfig: SaslConfig | null,
): Cluster {
  const cluster = newCluster([own.kafka.listeners[listener]!], { tls: tlsConfig, sasl: saslConfig });
  cleanups.push(() => cluster.close());
  return cluster;
}

async function failureAt(...at: Parameters<typeof clusterAt>): Promise<HealthFailure> {
  const failure = await diagnoseCluster(clusterAt(...at), [], { autocreate: false }, never);
  if (failure === null) throw new Error("It works");
  expect(failure.message).toContain(own.kafka.listeners[at[0]]!);
  return failure;
}

describe("ways in", () => {
  const ways: [string, () => Cluster][] = [
    [
      "TLS with a client certificate",
      () => clusterAt("SSL", tls({ crt: files.clientCert, key: files.clientKey }), null),
    ],
    ["TLS with an encrypted key", () => {
      const { clientCert: crt, clientKeyEncrypted: key, clientKeyPassword: keyPass } = files;
      return clusterAt("SSL", tls({ crt, key, keyPass }), null);
    }],
    ["TLS with inline PEM", () => {
      const text = (path: string) => readFileSync(path, "utf8");
      return clusterAt(
        "SSL",
        tls({ ca: text(files.ca), crt: text(files.clientCert), key: text(files.clientKey) }),
        null,
      );
    }],
    [
      "a wrong host name that is not verified",
      () => clusterAt("SASL_SSL", tls({ serverName: "other.example", verifyHostname: false }), sasl("PLAIN")),
    ],
  ];
  for (const mechanism of ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const) {
    ways.push([`${mechanism} in the clear`, () => clusterAt("SASL_PLAINTEXT", null, sasl(mechanism))]);
    ways.push([`${mechanism} over TLS`, () => clusterAt("SASL_SSL", tls(), sasl(mechanism))]);
  }
  for (const [name, make] of ways) {
    test(name, async () => {
      const cluster = make();
      await cluster.refresh([], "test");
      expect((await cluster.connectionTo(1)).isOpen).toBe(true);
    });
  }
});

describe("ways that fail, in words", () => {
  const cases: [string, () => Parameters<typeof clusterAt>, string, RegExp, RegExp][] = [
    [
      "a wrong password",
      () => ["SASL_PLAINTEXT", null, sasl("PLAIN", { password: "wrong-pass" })],
      "sasl-refused",
      /Invalid username or password/,
      /sasl\.password/,
    ],
    [
      "a wrong password with SCRAM",
      () => ["SASL_SSL", tls(), sasl("SCRAM-SHA-512", { password: "wrong-pass" })],
      "sasl-refused",
      /invalid credentials/,
      /sasl\.password/,
    ],
    [
      "an unknown user",
      () => ["SASL_SSL", tls(), sasl("SCRAM-SHA-256", { username: "nobody" })],
      "sasl-refused",
      /invalid credentials/,
      /sasl\.username/,
    ],
    [
      "a mechanism that the listener does not take",
      () => ["SASL_PLAINTEXT", null, {
        mechanism: "AWS_MSK_IAM",
        region: "eu-west-1",
        profile: null,
        assumeRole: null,
        env: AWS_KEYS,
      }],
      "sasl-mechanism",
      /only .*"SCRAM-SHA-256"/,
      /sasl\.mechanism/,
    ],
    [
      "no SASL at a SASL listener",
      () => ["SASL_PLAINTEXT", null, null],
      "closed",
      /at the first request/,
      /sasl\.enabled = true/,
    ],
    [
      "SASL at a listener without",
      () => ["PLAINTEXT", null, sasl("PLAIN")],
      "sasl-not-expected",
      /does not use SASL/,
      /sasl\.enabled = false/,
    ],
    [
      "no TLS at a TLS listener",
      () => ["SASL_SSL", null, sasl("PLAIN")],
      "tls-expected",
      /speaks TLS/,
      /tls\.enabled = true/,
    ],
    [
      "TLS at a listener without",
      () => ["PLAINTEXT", tls(), null],
      "tls-refused",
      /TLS handshake/,
      /remove tls\.enabled/,
    ],
    [
      "a wrong CA",
      () => ["SASL_SSL", tls({ ca: files.otherCa }), sasl("PLAIN")],
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      /not trusted here/,
      /tls\.ca_file/,
    ],
    [
      "no CA",
      () => ["SASL_SSL", tls({ ca: null }), sasl("PLAIN")],
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      /not trusted here/,
      /tls\.ca_file/,
    ],
    [
      "a wrong host name",
      () => ["SASL_SSL", tls({ serverName: "other.example" }), sasl("PLAIN")],
      "ERR_TLS_CERT_ALTNAME_INVALID",
      /localhost/,
      /tls\.server_name/,
    ],
    [
      "no client certificate where one is required",
      () => ["SSL", tls(), null],
      "",
      /certificate|first request/,
      /tls\.crt_file/,
    ],
  ];
  for (const [name, at, code, message, hint] of cases) {
    test(name, async () => {
      const failure = await failureAt(...at());
      if (code !== "") expect(failure.code).toBe(code);
      expect(failure.message).toMatch(message);
      expect(failure.hint!).toMatch(hint);
      expect(JSON.stringify(failure)).not.toContain("wrong-pass");
    });
  }
});

test("a renewed CA file counts from the next connection on", async () => {
  using dir = tempDir("ca");
  const ca = dir.file("ca.crt");
  copyFileSync(files.otherCa, ca);
  const cluster = clusterAt("SASL_SSL", tls({ ca }), sasl("PLAIN"));
  expect((await failureOf(cluster.refresh([], "test"))).code).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  copyFileSync(files.ca, ca);
  await cluster.refresh([], "test");
  expect(cluster.clusterId).not.toBeNull();
});

test("a session that ends is renewed on the same connection, with requests in flight", async () => {
  const cluster = clusterAt("SASL_PLAINTEXT", null, sasl("SCRAM-SHA-512"));
  await cluster.refresh([], "test");
  const connection = await cluster.connectionTo(1);
  const endMs = Date.now() + 2.5 * REAUTHENTICATION_MS;
  let answersCount = 0;
  const askOn = async () => {
    while (Date.now() < endMs) {
      await connection.request(ApiKey.Metadata, 9, encodeMetadata([], 9), { timeoutMs: 2_000 });
      answersCount++;
      await Bun.sleep(5);
    }
  };
  await Promise.all([askOn(), askOn(), askOn()]);
  expect(connection.isOpen).toBe(true);
  expect(answersCount).toBeGreaterThan(100);
}, 60_000);

describe("rights", () => {
  const stranger = () =>
    clusterAt("SASL_SSL", tls(), sasl("PLAIN", { username: "stranger", password: "stranger-secret" }));

  test("a topic that this user may not see", async () => {
    const topic = await own.kafka.createTopic();
    const failure = await diagnoseCluster(stranger(), [topic], { autocreate: false }, never);
    expect(failure!.code).toBe("TOPIC_AUTHORIZATION_FAILED");
    expect(failure!.message).toContain(`"${topic}"`);
    expect(failure!.message).toContain('user "stranger" lacks WRITE and DESCRIBE on topic');
    expect(failure!.hint).toContain(
      `--add --allow-principal User:stranger --operation Write --operation Describe --topic ${topic}`,
    );
  });

  test("a topic that this user may see and not write", async () => {
    const topic = await own.kafka.createTopic();
    await own.kafka.addAcl({ user: "stranger", resource: "topic", name: topic, operation: "describe" });
    const failure = await diagnoseCluster(stranger(), [topic], { autocreate: false }, never);
    expect(failure!.code).toBe("TOPIC_AUTHORIZATION_FAILED");
    expect(failure!.message).toBe(
      `Cannot write to topic "${topic}": user "stranger" lacks WRITE on topic "${topic}"`,
    );
    await own.kafka.addAcl({ user: "stranger", resource: "topic", name: topic, operation: "write" });
    expect(await diagnoseCluster(stranger(), [topic], { autocreate: false }, never)).toBeNull();
    await own.kafka.removeAcls();
  });

  test("no producer id without any right to write", async () => {
    const error = await failureOf(stranger().initProducerId(never));
    expect(error.code).toBe("CLUSTER_AUTHORIZATION_FAILED");
  });
});
