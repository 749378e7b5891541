import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, readFileSync } from "node:fs";
import type { Certificates } from "../../scripts/lib/kafka_certificates.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// The binary at real listeners with TLS, SASL and rights.

const CLUSTER_TIMEOUT_MS = 120_000;
/** Brokers refuse to be asked again within a second. */
const SESSION_MS = 2_000;

let own: OwnCluster;
let files: Certificates;
beforeAll(async () => {
  own = await ownCluster({
    security: "sasl_ssl",
    acl: true,
    settings: {
      "listener.name.ssl.ssl.client.auth": "required",
      "listener.name.sasl_plaintext.scram-sha-512.connections.max.reauth.ms": String(SESSION_MS),
    },
  });
  files = own.kafka.certificates!;
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

type Listener = "SSL" | "SASL_SSL" | "SASL_PLAINTEXT";

const tls = () => `tls = { enabled = true, ca_file = "${files.ca}" }\n`;
const mutual = (more: string) =>
  `[sinks.out.tls]\nenabled = true\nca_file = "${files.ca}"\ncrt_file = "${files.clientCert}"\n${more}\n`;
const store = (path: string) =>
  `[sinks.out.tls]\nenabled = true\nca_file = "${files.ca}"\ncrt_file = "${path}"\nkey_pass = "${files.clientKeyPassword}"\n`;
const login = (mechanism: string, user = "admin", password = "${SHIPPER_TEST_PASSWORD}") =>
  `sasl = { enabled = true, mechanism = "${mechanism}", username = "${user}", password = "${password}" }\n`;

describe("ships through", () => {
  const ways: [name: string, listener: Listener, sink: () => string][] = [
    ["TLS with a client certificate", "SSL", () => mutual(`key_file = "${files.clientKey}"`)],
    [
      "TLS with an encrypted key",
      "SSL",
      () => mutual(`key_file = "${files.clientKeyEncrypted}"\nkey_pass = "${files.clientKeyPassword}"`),
    ],
    ["PKCS#12", "SSL", () => store(files.clientP12)],
    ["PKCS#12 of old programs", "SSL", () => store(files.clientP12Legacy)],
    [
      "DER files and an encrypted DER key",
      "SSL",
      () =>
        `[sinks.out.tls]\nenabled = true\nca_file = "${files.caDer}"\ncrt_file = "${files.clientCertDer}"\n` +
        `key_file = "${files.clientKeyDerEncrypted}"\nkey_pass = "${files.clientKeyPassword}"\n`,
    ],
    ["TLS with PEM text in the configuration", "SSL", () => {
      const text = (path: string) => JSON.stringify(readFileSync(path, "utf8"));
      return `[sinks.out.tls]\nenabled = true\nca_file = ${text(files.ca)}\ncrt_file = ${
        text(files.clientCert)
      }\nkey_file = ${text(files.clientKey)}\n`;
    }],
  ];
  for (const mechanism of ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]) {
    ways.push([`${mechanism} in the clear`, "SASL_PLAINTEXT", () => login(mechanism)]);
    ways.push([`${mechanism} over TLS`, "SASL_SSL", () => login(mechanism) + tls()]);
  }
  ways.push(["a JAAS login and a security protocol", "SASL_SSL", () =>
    `security_protocol = "SASL_SSL"
tls.ca_file = "${files.ca}"
sasl.mechanism = "SCRAM-SHA-512"
sasl.jaas_config = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="\${SHIPPER_TEST_PASSWORD}";'
`]);
  ways.push(["the words of librdkafka", "SSL", () =>
    `[sinks.out.librdkafka_options]
"security.protocol" = "ssl"
"ssl.ca.location" = "${files.ca}"
"ssl.certificate.location" = "${files.clientCert}"
"ssl.key.location" = "${files.clientKeyEncrypted}"
"ssl.key.password" = "${files.clientKeyPassword}"
"compression.codec" = "lz4"
"linger.ms" = "20"
`]);
  ways.push(["the words of librdkafka for PKCS#12", "SSL", () =>
    `[sinks.out.librdkafka_options]
"security.protocol" = "ssl"
"ssl.ca.location" = "${files.ca}"
"ssl.keystore.location" = "${files.clientP12}"
"ssl.keystore.password" = "${files.clientKeyPassword}"
`]);
  for (const [name, listener, sink] of ways) {
    test(name, async () => {
      await using dir = tempDir("secure");
      const topic = await own.kafka.createTopic({ partitions: 2 });
      await own.kafka.addAcl({ user: "CN=shipper-client", resource: "topic", name: topic, operation: "all" });
      const writer = new OracleWriter(name.replaceAll(" ", "-"), "app.log");
      writer.append(dir.file("app.log"), 3_000);
      const config = filesToKafka(dir, {
        bootstrap: own.kafka.listeners[listener]!,
        topic,
        sink: `compression = "lz4"\n${sink()}`,
      });
      const env = { SHIPPER_TEST_PASSWORD: "admin-secret" };
      const exit = await runShipper({
        config,
        env,
        args: ["--once", "--require-healthy", "--log-level", "debug"],
      });
      expect(exit).toMatchObject({ code: 0, stdout: "" });
      for (const secret of ["admin-secret", files.clientKeyPassword, "PRIVATE KEY"]) {
        expect(exit.stderr).not.toContain(secret);
      }
      await expectExactly(own.kafka, topic, [writer]);
    }, 90_000);
  }
});

test("a key that it has no right to read: it says so, and goes on once it has", async () => {
  await using dir = tempDir("no-right");
  const topic = await own.kafka.createTopic();
  await own.kafka.addAcl({ user: "CN=shipper-client", resource: "topic", name: topic, operation: "all" });
  const key = dir.file("client.key");
  copyFileSync(files.clientKey, key);
  chmodSync(key, 0o000);
  const writer = new OracleWriter("no-right", "app.log");
  writer.append(dir.file("app.log"), 100);
  const sink = mutual(`key_file = "${key}"`) + "[sinks.out.retry]\nmax_interval_ms = 200\n";
  const config = filesToKafka(dir, { bootstrap: own.kafka.listeners.SSL!, topic, sink });
  // root may read everything: without these it is like any other user.
  const isRoot = process.getuid?.() === 0;
  const wrapper = isRoot ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] : [];
  await using shipper = startShipper({ config, wrapper });
  await shipper.waitForLog(
    /cannot set up TLS: tls\.key_file \\"[^"]*client\.key\\" cannot be read \(EACCES\)","hint":"Give the user that runs shipper the right to read it"/,
  );
  expect(await own.kafka.countRecords(topic)).toBe(0);
  chmodSync(key, 0o400);
  await waitUntil("everything is there", async () => await own.kafka.countRecords(topic) === 100);
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactly(own.kafka, topic, [writer]);
}, 90_000);

test("tells when certificates end", async () => {
  await using dir = tempDir("expiry");
  const topic = await own.kafka.createTopic();
  await own.kafka.addAcl({ user: "CN=shipper-client", resource: "topic", name: topic, operation: "all" });
  const socket = dir.file("api.sock");
  const config = filesToKafka(dir, {
    bootstrap: own.kafka.listeners.SSL!,
    topic,
    top: `[api]\naddress = "unix:${socket}"`,
    sink: store(files.clientP12),
  });
  await using shipper = startShipper({ config });
  await shipper.waitForLog(/Health check of sink .* passed/);
  const page = await (await fetch("http://localhost/metrics", { unix: socket })).text();
  for (const role of ["client", "ca", "broker"]) {
    const line = `shipper_sink_certificate_expiry_timestamp_seconds{sink="out",certificate="${role}"} `;
    const seconds = Number(page.split(line)[1]!.split("\n")[0]);
    // Ten years, made some seconds ago.
    expect(Math.abs(seconds - Date.now() / 1_000 - 3_650 * 86_400)).toBeLessThan(3_600);
  }
  expect(shipper.stderr).not.toContain("certificate");
}, 90_000);

test("sessions that end while it ships are renewed, and nothing is lost or repeated", async () => {
  await using dir = tempDir("session");
  const topic = await own.kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((name) => new OracleWriter("session", name));
  const config = filesToKafka(dir, {
    bootstrap: own.kafka.listeners.SASL_PLAINTEXT!,
    topic,
    sink: login("SCRAM-SHA-512", "admin", "admin-secret"),
  });
  await using shipper = startShipper({ config });
  using load = new SteadyLoad(dir, writers, 5_000);
  await Bun.sleep(3 * SESSION_MS);
  const count = load.stop();
  await waitUntil("everything is there", async () => await own.kafka.countRecords(topic) >= count);
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  expect(exit.code).toBe(0);
  expect(exit.stderr).not.toMatch(/"level":"(warn|error)"/);
  await expectExactly(own.kafka, topic, writers);
}, 120_000);

test(
  "topics_autocreate without the right to create: it says which one is missing, and goes on when the topic is there",
  async () => {
    await using dir = tempDir("no-create");
    const topic = `no-create-${crypto.randomUUID()}`;
    await own.kafka.addAcl({ user: "stranger", resource: "topic", name: topic, operation: "write" });
    const writer = new OracleWriter("no-create", "app.log");
    writer.append(dir.file("app.log"), 100);
    const options = { bootstrap: own.kafka.listeners.SASL_PLAINTEXT!, topic };
    const sink = login("PLAIN", "stranger", "stranger-secret") + "topics_autocreate = true\n";
    const config = filesToKafka(dir, { ...options, sink });
    {
      await using shipper = startShipper({ config });
      await shipper.waitForLog(/Cannot create topic.*TOPIC_AUTHORIZATION_FAILED/);
      await own.kafka.createTopic({ name: topic });
      await waitUntil("it is there", async () => await own.kafka.countRecords(topic) === 100);
      shipper.signal("SIGTERM");
      expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    }
    await expectExactly(own.kafka, topic, [writer]);
    const other = `${topic}-2`;
    await own.kafka.addAcl({ user: "stranger", resource: "topic", name: other, operation: "write" });
    writer.append(dir.file("app.log"), 50);
    const dropping = `${sink}on_topic_missing = "drop"\ntopic_missing_timeout_ms = 300\n`;
    const exit = await runShipper({
      config: filesToKafka(dir, { ...options, topic: other, sink: dropping }),
      args: ["--once"],
    });
    expect(exit.code).toBe(1);
    expect(exit.stderr).toContain('"dropped":50');
  },
  120_000,
);

test(
  "a right to write that is taken away and given back: it waits, and says which right is missing",
  async () => {
    await using dir = tempDir("rights");
    const topic = await own.kafka.createTopic();
    const acl = { user: "stranger", resource: "topic", name: topic, operation: "write" } as const;
    await own.kafka.addAcl(acl);
    await own.kafka.addAcl({ ...acl, operation: "describe" });
    const writer = new OracleWriter("rights", "app.log");
    writer.append(dir.file("app.log"), 100);
    const config = filesToKafka(dir, {
      bootstrap: own.kafka.listeners.SASL_PLAINTEXT!,
      topic,
      sink: login("PLAIN", "stranger", "stranger-secret") + "retry.max_interval_ms = 200",
    });
    await using shipper = startShipper({ config });
    await waitUntil("it ships", async () => await own.kafka.countRecords(topic) === 100);
    await own.kafka.removeAcl(acl);
    writer.append(dir.file("app.log"), 100);
    await shipper.waitForLog(/user \\"stranger\\" lacks WRITE on topic .*TOPIC_AUTHORIZATION_FAILED/u);
    await shipper.waitForLog(/kafka-acls .* --allow-principal User:stranger --operation Write --topic/u);
    expect(await own.kafka.countRecords(topic)).toBe(100);
    await own.kafka.addAcl(acl);
    await waitUntil("the rest is there", async () => await own.kafka.countRecords(topic) === 200);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    await expectExactly(own.kafka, topic, [writer]);
  },
  90_000,
);
