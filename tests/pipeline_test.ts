import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { BufferPool } from "../src/event/pooled_buffer.ts";
import { PositionStore } from "../src/checkpoint/position_store.ts";
import { loadConfigFiles } from "../src/cli/load_config_files.ts";
import { ApiKey } from "../src/kafka/protocol/api_keys.ts";
import { Pipeline } from "../src/pipeline.ts";
import { Metrics } from "../src/telemetry/metrics.ts";
import { auditOf } from "../src/telemetry/status.ts";
import { KeptLog } from "./kafka/producer_harness.ts";
import { until } from "./kafka/support.ts";
import { FakeKafka } from "./support/fake_kafka.ts";
import { type TempDir, tempDir } from "./support/temp_dir.ts";

let dir: TempDir;
let good: FakeKafka;
let stalled: FakeKafka;
const log = new KeptLog();
beforeEach(async () => {
  dir = tempDir("pipeline");
  good = await FakeKafka.start(1, { logs: 1 });
  stalled = await FakeKafka.start(1, { logs: 1 });
});
afterEach(async () => {
  await good[Symbol.asyncDispose]();
  await stalled[Symbol.asyncDispose]();
  dir.remove();
});

interface Running {
  readonly pipeline: Pipeline;
  readonly metrics: Metrics;
  readonly positions: PositionStore;
}

async function pipeline(text: string, once: boolean): Promise<Running> {
  const path = dir.file("config.toml");
  writeFileSync(path, `data_dir = ${JSON.stringify(dir.file("data"))}\n${text}`);
  const context = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined, env: {} };
  const { config, diagnostics } = await loadConfigFiles([path], { ...context, stdin: async function* () {} });
  if (config === null) throw new Error(diagnostics.map((each) => each.message).join("\n"));
  const metrics = new Metrics(0);
  const positions = new PositionStore();
  const clock = { now: Date.now, random: Math.random };
  return {
    pipeline: new Pipeline({
      config,
      diskBuffers: new Map(),
      pool: new BufferPool(),
      positions,
      journal: null,
      hostname: "h",
      metrics,
      log,
      once,
      dryRun: false,
      ...clock,
    }),
    metrics,
    positions,
  };
}

const source = (name: string) =>
  `[sources.${name}]\ntype = "file"\ninclude = [${JSON.stringify(dir.file(`${name}.log`))}]\n`;

const sink = (name: string, kafka: FakeKafka, inputs: string[], more = "") =>
  `[sinks.${name}]\ntype = "kafka"\ninputs = ${JSON.stringify(inputs)}\nbootstrap_servers = ${
    JSON.stringify(kafka.bootstrapServers)
  }\ntopic = "logs"\n${more}\n`;

const lines = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name} ${i}`);
const write = (name: string, count: number) =>
  writeFileSync(dir.file(`${name}.log`), lines(name, count).join("\n") + "\n");

test("two sources by two sinks: each sink gets what its inputs name, in order in each file", async () => {
  write("a", 500);
  write("b", 300);
  const text = source("a") + source("b") + sink("both", good, ["a", "b"]) + sink("one", stalled, ["b"]);
  const { pipeline: joined, metrics } = await pipeline(text, true);
  await joined.run();
  const of = (kafka: FakeKafka, name: string) =>
    kafka.values().filter((value) => value.startsWith(`${name} `));
  expect(of(good, "a")).toEqual(lines("a", 500));
  expect(of(good, "b")).toEqual(lines("b", 300));
  expect(of(stalled, "a")).toEqual([]);
  expect(of(stalled, "b")).toEqual(lines("b", 300));
  for (const [name, count] of [["both", 800], ["one", 300]] as const) {
    expect(auditOf(metrics.sink(name))).toMatchObject({ read: count, delivered: count, left: 0 });
  }
});

test("a sink that stands still holds no other, and each keeps its own position", async () => {
  write("a", 2_000);
  stalled.fault = () => ({ kind: "silence" });
  const small = "buffer.max_events = 10\nbatch.max_events = 10";
  const text = source("a") + sink("good", good, ["a"], small) + sink("stalled", stalled, ["a"], small);
  const { pipeline: joined, metrics } = await pipeline(text, false);
  const running = joined.run();
  const delivered = () => metrics.sink("good").deliveredEventsCount;
  await until(() => delivered() === 2_000, "the good sink has everything");
  expect(good.values()).toHaveLength(2_000);
  expect(stalled.values()).toEqual([]);
  joined.stopReading();
  joined.kill();
  await running;
  expect(auditOf(metrics.sink("good"))).toMatchObject({ read: 2_000, delivered: 2_000 });
  const left = auditOf(metrics.sink("stalled"));
  expect(left.delivered).toBe(0);
  expect(left.read).toBeLessThan(2_000);
  expect(metrics.sink("stalled").undelivered.total()).toBe(left.read);
});

test("a health check that gets no answer has failed when its time is over", async () => {
  write("a", 1);
  good.brokers[0]!.on(ApiKey.Metadata, () => "silence");
  const { pipeline: joined } = await pipeline(source("a") + sink("events", good, ["a"]), true);
  const startMs = performance.now();
  const [failure] = await joined.checkHealth(AbortSignal.timeout(60));
  expect(performance.now() - startMs).toBeLessThan(10_000);
  expect(failure).toMatchObject({ sink: "events", failure: { code: "timeout" } });
  joined.kill();
  await joined.run();
});

test("sinks without healthcheck are not asked", async () => {
  write("a", 1);
  const text = source("a") + sink("quiet", good, ["a"], "healthcheck = false");
  const { pipeline: joined } = await pipeline(text, true);
  expect(await joined.checkHealth(AbortSignal.timeout(1_000))).toEqual([]);
  expect(good.brokers[0]!.connectionsCount).toBe(0);
  joined.kill();
  await joined.run();
});
