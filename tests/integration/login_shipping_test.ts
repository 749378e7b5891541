import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import type { Certificates } from "../../scripts/lib/kafka_certificates.ts";
import { makeToken } from "../../scripts/lib/kafka_tokens.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { type Shipper, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { TokenProvider } from "../support/token_provider.ts";
import { waitUntil } from "../support/wait_until.ts";

// Logins that end, are renewed, refused and put right, by the binary at real listeners: no line is lost, repeated, or read too early.

const CLUSTER_TIMEOUT_MS = 120_000;
/** Brokers refuse to be asked again within a second. */
const SESSION_MS = 1_500;

let own: OwnCluster;
let files: Certificates;
beforeAll(async () => {
  own = await ownCluster({
    security: "sasl_ssl",
    settings: {
      "listener.name.sasl_ssl.scram-sha-512.connections.max.reauth.ms": String(SESSION_MS),
      // The end of the token comes first.
      "listener.name.sasl_ssl.oauthbearer.connections.max.reauth.ms": "3600000",
    },
  });
  files = own.kafka.certificates!;
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

const CLIENT = { id: "shipper", secret: "client-secret-7731" };

const tls = () => `[sinks.out.tls]\nenabled = true\nca_file = "${files.ca}"\n`;

function oidc(provider: TokenProvider, secret = CLIENT.secret): string {
  return `retry.max_interval_ms = 300
[sinks.out.sasl]
enabled = true
mechanism = "OAUTHBEARER"
oauthbearer.token_endpoint_url = "${provider.url}"
oauthbearer.client_id = "${CLIENT.id}"
oauthbearer.client_secret = "${secret}"
oauthbearer.scope = "kafka"
oauthbearer.audience = "cluster-1"
oauthbearer.ca_file = "${files.ca}"
oauthbearer.extensions = "traceId=7"
${tls()}`;
}

function scram(user: string, password: string): string {
  return `retry.max_interval_ms = 300
sasl = { enabled = true, mechanism = "SCRAM-SHA-512", username = "${user}", password = "${password}" }
${tls()}`;
}

function configOf(dir: TempDir, topic: string, sink: string): string {
  return filesToKafka(dir, { bootstrap: own.kafka.listeners.SASL_SSL!, topic, sink });
}

/** Connections that it has begun to open so far; needs --log-level debug. */
function connectionCount(shipper: Shipper): number {
  return shipper.stderr.split("kafkajs: Connecting").length - 1;
}

/** Lines of a log that are warnings or errors. */
function complaintsOf(log: string): string[] {
  return log.split("\n").filter((line) => /"level":"(warn|error)"/u.test(line));
}

async function endWell(shipper: Shipper): Promise<string> {
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  expect(exit.code).toBe(0);
  return exit.stderr;
}

describe("OAUTHBEARER", () => {
  test("a token file, read again at each login", async () => {
    await using dir = tempDir("token-file");
    const topic = await own.kafka.createTopic({ partitions: 2 });
    const writer = new OracleWriter("token-file", "app.log");
    const path = dir.file("token");
    const renew = () => {
      writeFileSync(`${path}.new`, `${makeToken(files.tokenKey, { sub: "admin", lifeSeconds: 8 })}\n`);
      renameSync(`${path}.new`, path);
    };
    renew();
    const timer = setInterval(renew, 1_000);
    try {
      const sink =
        `sasl = { enabled = true, mechanism = "OAUTHBEARER", oauthbearer.token_file = "${path}" }\n${tls()}`;
      await using shipper = startShipper({
        config: configOf(dir, topic, sink),
        args: ["--log-level", "debug"],
      });
      using load = new SteadyLoad(dir, [writer], 2_000);
      await waitUntil("it ships", async () => await own.kafka.countRecords(topic) > 0);
      const before = connectionCount(shipper);
      await Bun.sleep(9_000);
      const count = load.stop();
      await waitUntil("everything is there", async () => await own.kafka.countRecords(topic) >= count);
      // A session has ended at least once.
      expect(before).toBeGreaterThan(0);
      expect(connectionCount(shipper)).toBe(before);
      expect(complaintsOf(await endWell(shipper))).toEqual([]);
    } finally {
      clearInterval(timer);
    }
    await expectExactly(own.kafka, topic, [writer]);
  }, 120_000);

  test("tokens of a provider, replaced before they end, on the same connection", async () => {
    await using dir = tempDir("oidc");
    using provider = new TokenProvider(files, CLIENT);
    provider.lifeSeconds = 4;
    const topic = await own.kafka.createTopic({ partitions: 3 });
    const writers = ["a.log", "b.log"].map((name) => new OracleWriter("oidc", name));
    await using shipper = startShipper({
      config: configOf(dir, topic, oidc(provider)),
      args: ["--log-level", "debug"],
    });
    using load = new SteadyLoad(dir, writers, 2_000);
    await waitUntil("it ships", async () => await own.kafka.countRecords(topic) > 0);
    const before = connectionCount(shipper);
    await Bun.sleep(6_000);
    const count = load.stop();
    await waitUntil("everything is there", async () => await own.kafka.countRecords(topic) >= count);
    expect(connectionCount(shipper)).toBe(before);
    expect(complaintsOf(await endWell(shipper))).toEqual([]);
    expect(provider.requests.length).toBeGreaterThan(1);
    // One for all connections, after four fifths of its life.
    expect(provider.requests.length).toBeLessThan(8);
    expect(provider.requests[0]!.form).toEqual({
      grant_type: "client_credentials",
      scope: "kafka",
      audience: "cluster-1",
    });
    await expectExactly(own.kafka, topic, writers);
  }, 120_000);

  test("a provider that is away and comes back", async () => {
    await using dir = tempDir("oidc-away");
    using provider = new TokenProvider(files, CLIENT);
    provider.lifeSeconds = 4;
    const topic = await own.kafka.createTopic();
    const writer = new OracleWriter("oidc-away", "app.log");
    await using shipper = startShipper({ config: configOf(dir, topic, oidc(provider)) });
    using load = new SteadyLoad(dir, [writer], 500);
    await waitUntil("it ships", async () => await own.kafka.countRecords(topic) > 0);
    provider.answer = () => new Response("gone", { status: 503 });
    await shipper.waitForLog(
      /Cannot get a token from .* it answers 503; the token before it is used until it ends/,
    );
    await shipper.waitForLog(/Cannot connect to broker .* cannot get a token from .* it answers 503/);
    provider.answer = null;
    await Bun.sleep(1_000);
    const count = load.stop();
    await waitUntil("everything is there", async () => await own.kafka.countRecords(topic) >= count);
    await endWell(shipper);
    await expectExactly(own.kafka, topic, [writer]);
  }, 120_000);
});

describe("passwords", () => {
  const REFUSED =
    /"level":"warn","message":"Cannot connect to broker \\"[^"]*\\": it refused SASL SCRAM-SHA-512 authentication \(Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512\)","hint":"Correct sasl\.username and sasl\.password, and check that the user exists for this mechanism"/g;

  test(
    "a wrong one, which is put right at the broker: nothing is read too early, over kill -9 too",
    async () => {
      await using dir = tempDir("wrong-password");
      const topic = await own.kafka.createTopic({ partitions: 2 });
      const writer = new OracleWriter("wrong-password", "app.log");
      writer.append(dir.file("app.log"), 500);
      const user = "forgetful";
      await own.kafka.setScram(user, "SCRAM-SHA-512", "at-the-broker-81");
      const config = configOf(dir, topic, scram(user, "in-the-file-4402"));
      const first = startShipper({ config });
      await first.waitForLog(REFUSED);
      await Bun.sleep(2_000);
      await waitUntil("it is tried again", () => first.stderr.match(REFUSED)!.length > 1);
      // With pauses that double up to 0.3 s, and the broker's own of 0.3 s for each refusal.
      const refusals = first.stderr.match(REFUSED)!.length;
      expect(refusals).toBeLessThan(12);
      await first.kill();
      expect(await own.kafka.countRecords(topic)).toBe(0);
      await using second = startShipper({ config });
      using load = new SteadyLoad(dir, [writer], 500);
      await second.waitForLog(REFUSED);
      expect(await own.kafka.countRecords(topic)).toBe(0);
      await own.kafka.setScram(user, "SCRAM-SHA-512", "in-the-file-4402");
      await waitUntil("it goes on", async () => await own.kafka.countRecords(topic) > 500);
      const count = load.stop();
      await waitUntil("everything is there", async () => await own.kafka.countRecords(topic) >= count);
      const log = await endWell(second);
      expect(first.stderr + log).not.toContain("in-the-file-4402");
      await expectExactly(own.kafka, topic, [writer]);
    },
    120_000,
  );

  test("one that is changed at the broker while it ships, and changed back", async () => {
    await using dir = tempDir("rotated-password");
    const topic = await own.kafka.createTopic({ partitions: 2 });
    const writer = new OracleWriter("rotated-password", "app.log");
    const user = "rotating";
    await own.kafka.setScram(user, "SCRAM-SHA-512", "before-5512");
    await using shipper = startShipper({ config: configOf(dir, topic, scram(user, "before-5512")) });
    using load = new SteadyLoad(dir, [writer], 1_000);
    for (let round = 0; round < 2; round++) {
      const seen = shipper.stderr.length;
      const count = await own.kafka.countRecords(topic);
      await waitUntil("it ships", async () => await own.kafka.countRecords(topic) > count + 500);
      await own.kafka.setScram(user, "SCRAM-SHA-512", "after-9034");
      // The session that is open goes on until it has to be renewed.
      await waitUntil("it is refused", () => shipper.stderr.slice(seen).search(REFUSED) >= 0);
      await own.kafka.setScram(user, "SCRAM-SHA-512", "before-5512");
    }
    const count = load.stop();
    await waitUntil("everything is there", async () => await own.kafka.countRecords(topic) >= count);
    await endWell(shipper);
    await expectExactly(own.kafka, topic, [writer]);
  }, 120_000);
});
