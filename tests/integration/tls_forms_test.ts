import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import type { Certificates } from "../../scripts/lib/kafka_certificates.ts";
import type { ListenerName } from "../../scripts/lib/kafka_properties.ts";
import { makeToken } from "../../scripts/lib/kafka_tokens.ts";
import { runCommand } from "../../scripts/lib/run_command.ts";
import type { SaslConfig, TlsConfig } from "../../src/config/config_security.ts";
import { Cluster } from "../../src/kafka/cluster.ts";
import { diagnoseCluster } from "../../src/kafka/cluster_health.ts";
import { loadTls } from "../../src/kafka/security.ts";
import type { SeenCertificate } from "../../src/kafka/tls/seen_certificate.ts";
import type { HealthFailure } from "../../src/sink/sink.ts";
import { failureOf, newCluster } from "../kafka/support.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { tempDir } from "../support/temp_dir.ts";

// Every form of certificates and keys, and every way in which TLS and tokens fail, at real listeners.

const CLUSTER_TIMEOUT_MS = 120_000;
const never = new AbortController().signal;
const clusters: Cluster[] = [];
let own: OwnCluster;
let files: Certificates;

beforeAll(async () => {
  own = await ownCluster({
    security: "sasl_ssl",
    settings: { "listener.name.ssl.ssl.client.auth": "required" },
  });
  files = own.kafka.certificates!;
}, CLUSTER_TIMEOUT_MS);
afterAll(async () => {
  for (const cluster of clusters) cluster.close();
  await own?.stop();
}, CLUSTER_TIMEOUT_MS);

function tls(overrides: Partial<TlsConfig> = {}): TlsConfig {
  const none = { crt: null, key: null, keyPass: null, serverName: null };
  return { ca: files.ca, ...none, verifyHostname: true, ...overrides };
}

function clusterAt(
  listener: ListenerName,
  tlsConfig: TlsConfig | null,
  sasl: SaslConfig | null = null,
  onCertificates: (seen: readonly SeenCertificate[]) => void = () => {},
): Cluster {
  const cluster = newCluster([own.kafka.listeners[listener]!], { tls: tlsConfig, sasl, onCertificates });
  clusters.push(cluster);
  return cluster;
}

/** The failure with the address and folder of this run taken out. */
async function failureAt(...at: Parameters<typeof clusterAt>): Promise<HealthFailure> {
  const failure = await diagnoseCluster(clusterAt(...at), [], { autocreate: false }, never);
  if (failure === null) throw new Error("It works");
  const folder = files.ca.slice(0, files.ca.lastIndexOf("/"));
  const plain = (text: string) =>
    text.replaceAll(own.kafka.listeners[at[0]]!, "BROKER").replaceAll(folder, "DIR");
  return { code: failure.code, message: plain(failure.message), hint: plain(failure.hint ?? "") };
}

describe("forms of files", () => {
  const text = (path: string) => readFileSync(path, "utf8");
  const ways: [string, () => Partial<TlsConfig>][] = [
    ["PEM", () => ({ crt: files.clientCert, key: files.clientKey })],
    ["DER", () => ({ ca: files.caDer, crt: files.clientCertDer, key: files.clientKeyDer })],
    ["DER, the key as SEC1", () => ({ crt: files.clientCertDer, key: files.clientKeySec1Der })],
    [
      "an encrypted DER key",
      () => ({ crt: files.clientCert, key: files.clientKeyDerEncrypted, keyPass: "key-secret" }),
    ],
    [
      "an encrypted PEM key",
      () => ({ crt: files.clientCert, key: files.clientKeyEncrypted, keyPass: "key-secret" }),
    ],
    [
      "a key with Proc-Type",
      () => ({ crt: files.clientCert, key: files.clientKeyLegacy, keyPass: "key-secret" }),
    ],
    ["PKCS#12", () => ({ crt: files.clientP12, keyPass: "key-secret" })],
    ["PKCS#12 of old programs", () => ({ crt: files.clientP12Legacy, keyPass: "key-secret" })],
    ["a chain of certificates", () => ({ crt: files.chainCert, key: files.clientKey })],
    ["several authorities", () => ({ ca: files.caBundle, crt: files.clientCert, key: files.clientKey })],
    ["text", () => ({ ca: text(files.ca), crt: text(files.clientCert), key: text(files.clientKey) })],
  ];
  for (const [name, overrides] of ways) {
    test(name, async () => {
      const cluster = clusterAt("SSL", tls(overrides()));
      await cluster.refresh([], "test");
      expect((await cluster.connectionTo(1)).isOpen).toBe(true);
    });
  }
});

test("from Java's keystores and truststores, by keytool", async () => {
  using dir = tempDir("jks");
  const [jks, store, trust, pem] = ["a.jks", "a.p12", "trust.jks", "trust.pem"].map((name) =>
    dir.file(name)
  ) as [
    string,
    string,
    string,
    string,
  ];
  const pass = ["-storepass", "old-secret"];
  const made = ["-genkeypair", "-alias", "a", "-keyalg", "RSA", "-dname", "CN=java", "-validity", "10"];
  await runCommand("keytool", [
    ...made,
    "-storetype",
    "JKS",
    "-keystore",
    jks,
    ...pass,
    "-keypass",
    "old-secret",
  ]);
  await runCommand("keytool", [
    ...["-importkeystore", "-srckeystore", jks, "-srcstorepass", "old-secret"],
    ...["-destkeystore", store, "-deststoretype", "PKCS12", "-deststorepass", "new-secret"],
  ]);
  const { certificates } = await loadTls(tls({ crt: store, keyPass: "new-secret" }));
  expect(certificates.find(({ role }) => role === "client")).toMatchObject({ subject: "CN=java" });
  const entry = [
    "-noprompt",
    "-alias",
    "ca",
    "-file",
    files.ca,
    "-storetype",
    "JKS",
    "-keystore",
    trust,
    ...pass,
  ];
  await runCommand("keytool", ["-importcert", ...entry]);
  const { stdout } = await runCommand("keytool", ["-list", "-rfc", "-keystore", trust, ...pass]);
  writeFileSync(pem, stdout);
  const cluster = clusterAt("SSL", tls({ ca: pem, crt: files.clientCert, key: files.clientKey }));
  await cluster.refresh([], "test");
  expect(cluster.clusterId).not.toBeNull();
}, 120_000);

test("the authorities in a PKCS#12 file are not trusted beside those of tls.ca_file", async () => {
  const failure = await failureAt(
    "SSL",
    tls({ ca: files.otherCa, crt: files.clientP12, keyPass: "key-secret" }),
  );
  expect(failure.code).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
});

/** Exactly what is said: code, state after 'Cannot connect to broker "BROKER": ', hint. */
type Words = readonly [code: string, state: string, hint: string];

describe("TLS that fails", () => {
  const cases: [string, () => Parameters<typeof clusterAt>, Words][] = [
    ["a wrong CA", () => ["SASL_SSL", tls({ ca: files.otherCa })], [
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "its certificate is signed by a CA that is not trusted here (UNABLE_TO_VERIFY_LEAF_SIGNATURE)",
      "Set tls.ca_file to the CA that signed the brokers' certificates",
    ]],
    ["a wrong host", () => ["SSL_OTHER_HOST", tls()], [
      "ERR_TLS_CERT_ALTNAME_INVALID",
      'its certificate is for DNS:kafka.example.org, not for "127.0.0.1"',
      "Use a name from the certificate in bootstrap_servers, set tls.server_name, or tls.verify_hostname = false",
    ]],
    ["a broker's certificate that has ended", () => ["SSL_EXPIRED", tls()], [
      "CERT_HAS_EXPIRED",
      "its certificate has expired",
      "Renew the broker's certificate, or correct this host's clock",
    ]],
    ["no client certificate", () => ["SSL", tls()], [
      "tls-client-missing",
      "it wants a client's certificate and got none (ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE)",
      "Set tls.crt_file and tls.key_file, or use the port of a listener that wants none",
    ]],
    [
      "a client certificate that has ended",
      () => ["SSL", tls({ crt: files.expiredCert, key: files.clientKey })],
      [
        "tls-client-expired",
        "it refused the client's certificate (CN=shipper-client), which ended at TIME (ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN)",
        "Put a renewed certificate in the place of tls.crt_file: the next connection uses it",
      ],
    ],
    [
      "a client certificate of another CA",
      () => ["SSL", tls({ crt: files.foreignCert, key: files.clientKey })],
      [
        "tls-client-refused",
        "it refused the client's certificate (CN=shipper-client) (ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN)",
        "Give one that is signed by an authority in the brokers' truststore, and look into the broker's log",
      ],
    ],
    ["a plaintext port", () => ["PLAINTEXT", tls()], [
      "tls-refused",
      "it closed the connection during the TLS handshake (ECONNRESET)",
      "The port may be a listener without TLS: remove tls.enabled, or use the port of the SSL listener",
    ]],
    ["a key of another certificate", () => ["SSL", tls({ crt: files.ca, key: files.clientKey })], [
      "tls-key-mismatch",
      'cannot set up TLS: the key in tls.key_file "DIR/client.key" does not belong to the first certificate of tls.crt_file "DIR/ca.crt"',
      "Give the key that the certificate was made for; the client's certificate comes first in a chain",
    ]],
    ["a wrong pass phrase", () => ["SSL", tls({ crt: files.clientP12, keyPass: "wrong-pass" })], [
      "tls-key-pass",
      'cannot set up TLS: tls.crt_file "DIR/client.p12" cannot be decrypted: tls.key_pass is not its pass phrase',
      "Correct tls.key_pass",
    ]],
    ["a file that is not there", () => ["SSL", tls({ ca: "/nonexistent/ca.crt" })], [
      "tls-file-unreadable",
      'cannot set up TLS: tls.ca_file "/nonexistent/ca.crt" cannot be read (ENOENT)',
      "Correct the path in the configuration",
    ]],
  ];
  for (const [name, at, [code, state, hint]] of cases) {
    test(name, async () => {
      let failure = await failureAt(...at());
      // A broker's alert and the end of the connection are two messages: the second may overtake the first.
      for (let i = 0; i < 5 && failure.code === "closed"; i++) failure = await failureAt(...at());
      const message = failure.message.replace(/\d{4}-\d{2}-\d{2}T[\d:.]+Z/u, "TIME");
      expect({ ...failure, message }).toEqual({
        code,
        message: `Cannot connect to broker "BROKER": ${state}`,
        hint,
      });
    });
  }
});

function withToken(token: string): SaslConfig {
  return { mechanism: "OAUTHBEARER", source: { kind: "token", token }, extensions: { traceId: "7" } };
}

describe("tokens that are refused", () => {
  const ended = () => makeToken(files.tokenKey, { sub: "admin", lifeSeconds: -60 });
  const forged = () =>
    `${makeToken(files.tokenKey, { sub: "admin", lifeSeconds: 60 }).slice(0, -20)}${"A".repeat(20)}`;
  const cases: [string, () => string, string][] = [
    ["one that has ended", ended, '{"status":"invalid_token"}; the token expired at TIME'],
    ["one that is no JWT", () => "abcdef", '{"status":"invalid_token"}'],
    ["one with a wrong signature", forged, '{"status":"invalid_token"}'],
  ];
  for (const [name, make, said] of cases) {
    test(name, async () => {
      const token = make();
      const failure = await failureAt("SASL_SSL", tls(), withToken(token));
      const message = failure.message.replace(/\d{4}-\d{2}-\d{2}T[\d:.]+Z/u, "TIME");
      expect({ ...failure, message }).toEqual({
        code: "sasl-refused",
        message: `Cannot connect to broker "BROKER": it refused SASL OAUTHBEARER authentication (${said})`,
        hint:
          "Check that the token has not expired, and its issuer, audience and scope against the listener's sasl.oauthbearer.* settings",
      });
      expect(JSON.stringify(failure)).not.toContain(token);
    });
  }
});

test("a good token, and the certificates that its connection rests on", async () => {
  const noted: SeenCertificate[] = [];
  const token = makeToken(files.tokenKey, { sub: "admin", lifeSeconds: 60 });
  const cluster = clusterAt("SASL_SSL", tls(), withToken(token), (seen) => noted.push(...seen));
  await cluster.refresh([], "test");
  expect((await cluster.connectionTo(1)).isOpen).toBe(true);
  const broker = own.kafka.listeners.SASL_SSL!;
  const [ca, shown] = noted;
  expect(ca).toMatchObject({ role: "ca", broker: null, subject: "CN=shipper test CA" });
  expect(shown).toMatchObject({ role: "broker", broker, subject: "CN=localhost" });
  for (const { notAfterMs } of [ca!, shown!]) {
    expect(Math.abs(notAfterMs - Date.now() - 3_650 * 86_400_000)).toBeLessThan(86_400_000);
  }
});

test("renewed files count from the next connection on", async () => {
  using dir = tempDir("renewed");
  const [crt, key] = [dir.file("client.crt"), dir.file("client.key")];
  copyFileSync(files.expiredCert, crt);
  copyFileSync(files.clientKey, key);
  const cluster = clusterAt("SSL", tls({ crt, key }));
  await failureOf(cluster.refresh([], "test"));
  copyFileSync(files.chainCert, crt);
  await cluster.refresh([], "test");
  expect(cluster.clusterId).not.toBeNull();
});
