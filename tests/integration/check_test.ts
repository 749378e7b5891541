import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import Ajv from "ajv/dist/2020.js";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import type { CheckReport } from "../../src/cli/check.ts";
import type { CheckResult } from "../../src/check/check_result.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, type ShipperOptions, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

const CLUSTER_TIMEOUT_MS = 180_000;
/** Many share the machine. */
const TEST_TIMEOUT_MS = 90_000;
const EXIT_CONFIG = 78;
/** Root may read everything; without these it is like any user. */
const WITHOUT_RIGHTS = process.getuid?.() === 0
  ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
  : [];
const schema = JSON.parse(readFileSync(new URL("../../docs/check.schema.json", import.meta.url), "utf8"));
const fits = new Ajv({ strict: true, allowUnionTypes: true }).compile(schema);

let own: OwnCluster;
beforeAll(async () => {
  own = await ownCluster({ brokers: 3, security: "sasl_ssl", acl: true });
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

interface Checked {
  readonly code: number | null;
  readonly report: CheckReport;
  of(check: string): CheckResult[];
  /** Of a check that has one result. */
  one(check: string): CheckResult;
}

/** Runs `shipper check --json` on a configuration, and compares what it prints with the schema. */
async function checkConfig(config: string, options: Partial<ShipperOptions> = {}): Promise<Checked> {
  await using dir = tempDir("check-config");
  writeFileSync(dir.file("c.toml"), config, { mode: 0o600 });
  const exit = await runShipper({ ...options, args: ["check", "--json", "--config", dir.file("c.toml")] });
  const report = JSON.parse(exit.stdout) as CheckReport;
  if (!fits(report)) throw new Error(JSON.stringify(fits.errors));
  const of = (check: string) => report.checks.filter((each) => each.check === check);
  const one = (check: string) => {
    const [result, second] = of(check);
    if (result === undefined || second !== undefined) throw new Error(`${check}: ${JSON.stringify(report)}`);
    return result;
  };
  return { code: exit.code, report, of, one };
}

function login(user: string, more = ""): string {
  return `sasl = { enabled = true, mechanism = "SCRAM-SHA-512", username = "${user}", password = "${user}-secret" }\n` +
    `tls = { enabled = true, ca_file = "${own.kafka.certificates!.ca}" }\n${more}`;
}

function configFor(dir: TempDir, topic: string, sink: string, bootstrap?: string): string {
  writeFileSync(dir.file("a.log"), "x\n");
  return filesToKafka(dir, { bootstrap: bootstrap ?? own.kafka.listeners.SASL_SSL!, topic, sink });
}

describe("brokers", () => {
  test("each that metadata names is reached, with TLS, login, certificate and versions", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic({ partitions: 3, replication: 3 });
    const [first] = own.kafka.listeners.SASL_SSL!.split(",");
    const { code, of, report } = await checkConfig(configFor(dir, topic, login("admin"), first));
    expect(report.counts).toMatchObject({ failed: 0, warning: 0, skipped: 0 });
    expect(code).toBe(0);
    for (const check of ["broker.connection", "broker.certificate", "broker.versions"]) {
      const targets = of(check).map(({ target }) => target);
      expect(targets[0]).toBe(first!);
      expect(targets.sort()).toEqual(own.kafka.listeners.SASL_SSL!.split(",").sort());
    }
    expect(of("broker.connection")[0]!.message).toMatch(/TLSv1\.\d, logged in by SCRAM-SHA-512$/);
    expect(JSON.stringify(report)).not.toContain("admin-secret");
  }, TEST_TIMEOUT_MS);

  test("wrong password, wrong CA, wrong port, wrong name: each has failed with its reason", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic();
    const [first] = own.kafka.listeners.SASL_SSL!.split(",");
    const password = await checkConfig(
      configFor(dir, topic, login("admin").replace("admin-secret", "wrong-pass"), first),
    );
    expect(password.code).toBe(EXIT_CONFIG);
    expect(password.one("broker.connection")).toMatchObject({ status: "failed", code: "sasl-refused" });
    expect(JSON.stringify(password.report)).not.toContain("wrong-pass");
    expect(password.one("broker.certificate").status).toBe("ok");
    expect(password.one("cluster")).toMatchObject({ status: "skipped", code: "no-broker" });

    const { ca, otherCa } = own.kafka.certificates!;
    const authority = await checkConfig(configFor(dir, topic, login("admin").replace(ca, otherCa), first));
    expect(authority.one("broker.connection").message).toContain("CA that is not trusted here");

    const away = await checkConfig(
      configFor(dir, topic, "", `127.0.0.1:1,nosuch.invalid:9,${own.kafka.bootstrap}`),
    );
    expect(away.of("broker.connection").slice(0, 2)).toMatchObject([
      { target: "127.0.0.1:1", status: "failed", code: "ECONNREFUSED" },
      { target: "nosuch.invalid:9", status: "failed" },
    ]);
    // The others are looked at all the same.
    expect(away.one("topic.exists").status).toBe("ok");
    expect(away.code).toBe(EXIT_CONFIG);
  }, TEST_TIMEOUT_MS);

  test("a broker that is away: under-replicated, then too few replicas; its address has failed", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic({ assignment: [[1, 2, 3]] });
    const strict = await own.kafka.createTopic({
      assignment: [[1, 3]],
      configs: { "min.insync.replicas": "2" },
    });
    expect((await checkConfig(configFor(dir, strict, "", own.kafka.bootstrap))).one("topic.replicas"))
      .toMatchObject({ status: "warning", code: "no-spare-replica" });
    await own.cluster.brokers[2]!.stop();
    try {
      let replicas: CheckResult;
      do replicas = (await checkConfig(configFor(dir, topic, "", own.kafka.bootstrap))).one(
        "topic.replicas",
      ); while (replicas.status === "ok");
      expect(replicas).toMatchObject({ status: "warning", code: "under-replicated" });
      const config = configFor(dir, strict, "", own.kafka.bootstrap);
      expect((await checkConfig(config)).one("topic.replicas")).toMatchObject({
        status: "failed",
        code: "not-enough-replicas",
      });
    } finally {
      await own.cluster.startBroker(2);
    }
  }, CLUSTER_TIMEOUT_MS);
});

describe("topics, rights and limits", () => {
  const allow = (name: string, operation: "write" | "read" | "describe" | "create") =>
    own.kafka.addAcl({ user: "shipper", resource: "topic", name, operation });

  test("a topic that is missing, and whether it may be created", async () => {
    await using dir = tempDir("check");
    const missing = await checkConfig(configFor(dir, "not-there", login("admin")));
    expect(missing.one("topic.exists")).toMatchObject({ status: "failed", code: "topic-unknown" });
    const created = await checkConfig(
      configFor(dir, "not-there", login("admin", "topics_autocreate = true\n")),
    );
    expect(created.one("topic.exists")).toMatchObject({ status: "ok" });
    await allow("may-not-create", "describe");
    const refused = await checkConfig(
      configFor(dir, "may-not-create", login("shipper", "topics_autocreate = true\n")),
    );
    expect(refused.one("topic.exists")).toMatchObject({ status: "failed", code: "topic-not-creatable" });
    await expect(own.kafka.describeTopic("not-there")).rejects.toThrow();
  }, TEST_TIMEOUT_MS);

  test("each right that is missing", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic();
    const check = () => checkConfig(configFor(dir, topic, login("shipper")));
    expect((await check()).one("topic.exists")).toMatchObject({
      status: "failed",
      code: "TOPIC_AUTHORIZATION_FAILED",
    });
    await allow(topic, "describe");
    const described = await check();
    expect(described.one("rights.topic")).toMatchObject({
      status: "failed",
      message: `This user has no right to WRITE, READ on topic "${topic}"`,
    });
    expect(described.one("rights.idempotent_write").status).toBe("skipped");
    await allow(topic, "write");
    const written = await check();
    expect(written.code).toBe(0);
    expect(written.one("rights.topic")).toMatchObject({ status: "warning", code: "no-read" });
    expect(written.one("rights.idempotent_write").status).toBe("ok");
    expect(written.one("topic.limits")).toMatchObject({ status: "skipped", code: "not-told" });
    expect(written.one("clock.broker")).toMatchObject({ status: "skipped", code: "not-told" });
    await allow(topic, "read");
    expect((await check()).one("rights.topic").status).toBe("ok");
  }, TEST_TIMEOUT_MS);

  test("a template: which topics match, and what this user may do with those that begin alike", async () => {
    await using dir = tempDir("check");
    const prefix = `tpl${crypto.randomUUID().slice(0, 8)}-`;
    const template = `${prefix}{{unit}}`;
    const check = (sink: string) => checkConfig(configFor(dir, template, login("shipper", sink)));
    // Of what this user may not see nothing is told, and the names that are asked with are not made.
    await own.kafka.createTopic({ name: `${prefix}hidden` });
    const blind = await check("topics_autocreate = false\n");
    expect(blind.code).toBe(0);
    expect(blind.one("topic.template")).toMatchObject({
      status: "warning",
      code: "no-topic",
      target: template,
    });
    expect(blind.one("rights.prefix")).toMatchObject({
      status: "warning",
      code: "TOPIC_AUTHORIZATION_FAILED",
      target: prefix,
      hint:
        `kafka-acls --add --allow-principal User:shipper --operation Write --operation Describe --operation Read --topic ${prefix} --resource-pattern-type prefixed`,
    });
    const allowPrefix = (operation: "write" | "read" | "create") =>
      own.kafka.addAcl({ user: "shipper", resource: "topic", name: prefix, operation, isPrefixed: true });
    await allowPrefix("write");
    await own.kafka.createTopic({ name: `${prefix}web`, partitions: 2, replication: 3 });
    const seen = await check("topics_autocreate = true\n");
    expect(seen.one("topic.template")).toMatchObject({
      status: "ok",
      message:
        `2 topics match "${template}": "${prefix}hidden", "${prefix}web"; those that only lines will name are not known`,
    });
    expect(seen.one("rights.prefix")).toMatchObject({ status: "warning", code: "no-read" });
    expect(seen.one("rights.create")).toMatchObject({
      status: "warning",
      code: "TOPIC_AUTHORIZATION_FAILED",
    });
    expect(seen.one("rights.idempotent_write").status).toBe("ok");
    expect(seen.one("topic.leaders")).toMatchObject({ status: "ok", target: template });
    await allowPrefix("read");
    await allowPrefix("create");
    const all = await check("topics_autocreate = true\n");
    expect(all.one("rights.prefix")).toMatchObject({
      status: "ok",
      message: `This user has WRITE, DESCRIBE, READ on topics that begin with "${prefix}"`,
    });
    expect(all.one("rights.create")).toMatchObject({
      status: "ok",
      message: `This user has CREATE on topics that begin with "${prefix}"`,
    });
    expect(all.one("rights.topic")).toMatchObject({ status: "ok", target: template });
    const some = await check(`allowed_topics = ["${prefix}web*", "${prefix}db"]\n`);
    expect(some.of("topic.template")).toMatchObject([
      { status: "ok", message: expect.stringContaining(`1 topic matches "${template}": "${prefix}web"`) },
      { status: "warning", code: "topic-unknown", message: expect.stringContaining(`"${prefix}db"`) },
    ]);
    expect(some.one("rights.prefix")).toMatchObject({ status: "ok", target: `${prefix}web` });
    // One topic has lines of its own.
    expect(some.one("topic.leaders").target).toBe(`${prefix}web`);
    expect(await own.kafka.hasTopic(`${prefix}db`)).toBe(false);
  }, TEST_TIMEOUT_MS);

  test("a transactional id, without fencing who uses it", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic();
    await allow(topic, "write");
    for (const operation of ["write", "read", "describe", "create"] as const) {
      await allow("places", operation);
    }
    const sink = login(
      "shipper",
      'delivery = "transactional"\ntransactional_id = "checked"\nposition_topic = "places"\n',
    );
    expect((await checkConfig(configFor(dir, topic, sink))).one("rights.transactional_id")).toMatchObject({
      status: "failed",
      code: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    });
    for (const operation of ["write", "describe"] as const) {
      await own.kafka.addAcl({ user: "shipper", resource: "transactional_id", name: "checked", operation });
    }
    const config = configFor(dir, topic, sink);
    await using shipper = startShipper({ config });
    await shipper.waitForLog(/Positions of transactional id \\"checked\\" were read/u);
    await own.kafka.waitForRecords(topic, 1, { isolation: "read_committed" });
    for (let i = 0; i < 3; i++) {
      expect((await checkConfig(config)).one("rights.transactional_id").status).toBe("ok");
    }
    writeFileSync(dir.file("a.log"), "y\n", { flag: "a" });
    await own.kafka.waitForRecords(topic, 3, { isolation: "read_committed" });
    shipper.signal("SIGTERM");
    const exit = await shipper.waitForExit();
    expect(exit.code).toBe(0);
    expect(exit.stderr).not.toContain("fenced");
  }, TEST_TIMEOUT_MS);

  test("limits of the topic", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic({
      configs: { "max.message.bytes": "5000", "cleanup.policy": "compact" },
    });
    const { one, code } = await checkConfig(configFor(dir, topic, login("admin")));
    expect(one("topic.limits")).toMatchObject({ status: "warning", code: "topic-limit-lower" });
    expect(one("topic.cleanup_policy")).toMatchObject({ status: "failed", code: "compacted-topic" });
    expect(code).toBe(EXIT_CONFIG);
  }, TEST_TIMEOUT_MS);

  test("the controller's clock", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic();
    const { one } = await checkConfig(configFor(dir, topic, login("admin")));
    expect(one("clock.broker").message).toMatch(/are at most \d+ ms apart$/);
  }, TEST_TIMEOUT_MS);
});

describe("this machine", () => {
  test("files that this user may not read are named; so is a data_dir that it may not write", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic();
    const config = configFor(dir, topic, "", own.kafka.bootstrap);
    writeFileSync(dir.file("b.log"), "x\n", { mode: 0 });
    const files = await checkConfig(config, { wrapper: WITHOUT_RIGHTS });
    expect(files.one("files")).toMatchObject({
      status: "failed",
      code: "EACCES",
      message: expect.stringContaining(
        `leads to 2 files; this user cannot read "${dir.file("b.log")}" (EACCES)`,
      ),
    });
    expect(files.code).toBe(EXIT_CONFIG);
    mkdirSync(dir.file("data"), { mode: 0o500 });
    chmodSync(dir.file("b.log"), 0o600);
    const { one } = await checkConfig(config, { wrapper: WITHOUT_RIGHTS });
    expect(one("files").status).toBe("ok");
    expect(one("data_dir")).toMatchObject({ status: "failed", code: "EACCES" });
  }, TEST_TIMEOUT_MS);

  test("a low limit on open files", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic();
    const config = configFor(dir, topic, "", own.kafka.bootstrap);
    for (let i = 0; i < 40; i++) writeFileSync(dir.file(`n${i}.log`), "x\n");
    const { one } = await checkConfig(config, { wrapper: ["sh", "-c", 'ulimit -n 60; exec "$@"', "sh"] });
    expect(one("limits.open_files")).toMatchObject({ status: "failed", code: "EMFILE" });
  }, TEST_TIMEOUT_MS);

  test("beside a shipper that runs: said, and nothing is disturbed", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic({ partitions: 2 });
    const writer = new OracleWriter("check", "a.log");
    const config = `api.address = "unix:${dir.file("api.sock")}"\n` +
      filesToKafka(dir, { bootstrap: own.kafka.bootstrap, topic, sink: "" });
    writer.append(dir.file("a.log"), 500);
    await using shipper = startShipper({ config });
    await own.kafka.waitForRecords(topic, 500);
    const producers = await own.kafka.describeProducers(topic, 0);
    for (let i = 0; i < 5; i++) {
      writer.append(dir.file("a.log"), 500);
      const { code, one } = await checkConfig(config);
      expect(code).toBe(0);
      expect(one("data_dir.lock").message).toBe(`A shipper that runs has data_dir: process ${shipper.pid}`);
      expect(one("data_dir.journal").message).toContain("The journal is whole: 1 file");
      expect(one("api.address").message).toContain("The shipper that runs with this data_dir listens");
    }
    await own.kafka.waitForRecords(topic, writer.count);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    await expectExactly(own.kafka, topic, [writer]);
    const after = await own.kafka.describeProducers(topic, 0);
    expect(after.map((each) => each.producerId)).toEqual(producers.map((each) => each.producerId));
  }, TEST_TIMEOUT_MS);

  test("data_dir is left as it is", async () => {
    await using dir = tempDir("check");
    const topic = await own.kafka.createTopic();
    const config = configFor(dir, topic, "", own.kafka.bootstrap);
    await runShipper({ config, args: ["--once"] });
    const state = () =>
      readdirSync(dir.file("data"), { recursive: true, encoding: "utf8" }).sort()
        .map((name) => `${name} ${statSync(dir.file("data", name)).mtimeMs}`);
    const before = state();
    const { one } = await checkConfig(config);
    expect(one("data_dir.lock").message).toBe("No shipper has data_dir now");
    expect(state()).toEqual(before);
  }, TEST_TIMEOUT_MS);
});
