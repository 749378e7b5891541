import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readCluster } from "../../scripts/lib/kafka_cluster.ts";
import { isRunning } from "../../scripts/lib/process_identity.ts";
import { projectDir } from "../../scripts/lib/project.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const START_TIMEOUT_MS = 120_000;

describe("a cluster of three brokers", () => {
  let own: OwnCluster;
  beforeAll(async () => {
    own = await ownCluster({ brokers: 3 });
  }, START_TIMEOUT_MS);
  afterAll(() => own?.stop(), START_TIMEOUT_MS);

  test("a leader that is killed is replaced, and comes back with its data", async () => {
    const { kafka, cluster } = own;
    const topic = await kafka.createTopic({ assignment: [[1, 2, 3]] });
    await kafka.produce(topic, [{ value: "before" }], { properties: { acks: "all" } });
    await cluster.brokers[0]!.kill();
    expect(cluster.brokers[0]!.pid).toBeNull();
    const leader = async () => (await kafka.describeTopic(topic))[0]!.leader;
    await waitUntil("another broker leads", async () => [2, 3].includes(await leader()), {
      timeoutMs: 30_000,
    });
    await kafka.produce(topic, [{ value: "meanwhile" }]);
    await cluster.startBroker(0);
    await waitUntil(
      "it is in sync again",
      async () => (await kafka.describeTopic(topic))[0]!.isr.length === 3,
      {
        timeoutMs: 30_000,
      },
    );
    await kafka.electLeaders(topic);
    expect(await leader()).toBe(1);
    expect((await kafka.readTopic(topic)).map((record) => String(record.value))).toEqual([
      "before",
      "meanwhile",
    ]);
  }, START_TIMEOUT_MS);

  test("partitions move to where a test wants them", async () => {
    const { kafka } = own;
    const topic = await kafka.createTopic({ assignment: [[1], [2]] });
    await kafka.reassign(topic, 0, [3, 1]);
    expect((await kafka.describeTopic(topic)).map((partition) => partition.leader)).toEqual([3, 2]);
  }, START_TIMEOUT_MS);

  test("a paused broker answers nothing until it is resumed", async () => {
    const { kafka, cluster } = own;
    const topic = await kafka.createTopic({ assignment: [[2]] });
    cluster.brokers[1]!.pause();
    const produced = kafka.produce(topic, [{ value: "late" }]);
    expect(await Promise.race([produced.then(() => "answered"), Bun.sleep(1_000).then(() => "silent")])).toBe(
      "silent",
    );
    cluster.brokers[1]!.resume();
    await produced;
    expect(await kafka.countRecords(topic)).toBe(1);
  }, START_TIMEOUT_MS);
});

test("a test run that is killed leaves no broker and no file behind", async () => {
  await using dir = tempDir("watchdog");
  const clusterDir = dir.file("cluster");
  const script = `
    import { startCluster } from "${join(projectDir, "scripts/lib/kafka_cluster.ts")}";
    await startCluster({ dir: ${JSON.stringify(clusterDir)} });
    console.log("ready");
    setInterval(() => {}, 1000);
  `;
  await Bun.write(dir.file("run.ts"), script);
  const child = spawn(process.execPath, [dir.file("run.ts")], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  const broker = readCluster(clusterDir)!.brokers[0]!.process!;
  expect(isRunning(broker)).toBe(true);
  child.kill("SIGKILL");
  await waitUntil("the broker is gone", () => !isRunning(broker));
  await waitUntil("its files are gone", () => !existsSync(clusterDir));
}, START_TIMEOUT_MS);

test("scripts/kafka: start, status and stop, with logins and rights", async () => {
  await using dir = tempDir("script");
  const run = (...args: string[]) => {
    const result = Bun.spawnSync([join(projectDir, "scripts", "kafka"), ...args, "--dir", dir.file("k")]);
    return { code: result.exitCode, text: String(result.stdout) + String(result.stderr) };
  };
  try {
    const started = run(
      "start",
      "--security",
      "sasl_ssl",
      "--acl",
      "--set",
      "auto.create.topics.enable=true",
    );
    expect(started).toMatchObject({ code: 0 });
    for (const listener of ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]) {
      expect(started.text).toMatch(new RegExp(`^${listener}: +127\\.0\\.0\\.1:\\d+$`, "m"));
    }
    expect(started.text).toContain(dir.file("k", "certificates", "ca.crt"));
    const properties = readFileSync(dir.file("k", "broker-1", "server.properties"), "utf8");
    expect(properties).toContain("auto.create.topics.enable=true\n");
    expect(properties).toContain("StandardAuthorizer");
    expect(run("start")).toMatchObject({
      code: 1,
      text: expect.stringContaining("a cluster is there already"),
    });
    expect(run("status")).toMatchObject({
      code: 0,
      text: expect.stringMatching(/broker 1: running, pid \d+/),
    });
  } finally {
    const broker = readCluster(dir.file("k"))?.brokers[0]?.process;
    expect(run("stop").code).toBe(0);
    expect(broker === undefined || broker === null || !isRunning(broker)).toBe(true);
  }
  expect(existsSync(dir.file("k"))).toBe(false);
  expect(run("status").code).toBe(1);
  expect(run("start", "--brokers", "0").code).toBe(2);
}, START_TIMEOUT_MS);
