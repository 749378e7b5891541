// A health check that was without an answer when the run ended was told as passed, at an end without a broker, too.
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { PositionStore } from "../../src/checkpoint/position_store.ts";
import { loadConfigFiles } from "../../src/cli/load_config_files.ts";
import { SinkHealth } from "../../src/cli/sink_health.ts";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { KeptLog } from "../kafka/producer_harness.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

async function unread(dir: TempDir, kafka: FakeKafka, log: KeptLog, metrics: Metrics): Promise<Pipeline> {
  const path = dir.file("config.toml");
  writeFileSync(
    path,
    `data_dir = ${JSON.stringify(dir.file("data"))}
[sources.a]
type = "file"
include = [${JSON.stringify(dir.file("*.log"))}]
[sinks.events]
type = "kafka"
inputs = ["a"]
bootstrap_servers = ${JSON.stringify(kafka.bootstrapServers)}
topic = "logs"
`,
  );
  const context = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined, env: {} };
  const { config } = await loadConfigFiles([path], { ...context, stdin: async function* () {} });
  return new Pipeline({
    config: config!,
    diskBuffers: new Map(),
    pool: new BufferPool(),
    positions: new PositionStore(),
    journal: null,
    hostname: "h",
    metrics,
    log,
    once: false,
    dryRun: false,
    now: Date.now,
    random: Math.random,
  });
}

test("a check that the end of the run cuts short has neither passed nor failed", async () => {
  using dir = tempDir("cut-short");
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  let askedCount = 0;
  kafka.brokers[0]!.on(ApiKey.Metadata, () => {
    askedCount++;
    return "silence";
  });
  const log = new KeptLog();
  const metrics = new Metrics(0);
  const pipeline = await unread(dir, kafka, log, metrics);
  const running = pipeline.run();
  const signal = new AbortController().signal;
  const checked = new SinkHealth({ pipeline, metrics, log, requireHealthy: false, signal }).check();
  await until(() => askedCount > 0, "the broker was asked");
  pipeline.stopReading();
  pipeline.kill();
  await running;
  expect(await checked).toBe(false);
  expect(log.lines.filter(({ message }) => message.includes("Health check"))).toEqual([]);
  expect(metrics.sink("events").healthFailure).toMatchObject({ code: "not-checked" });
});
