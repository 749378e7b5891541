// When metadata told of another cluster, connections to brokers of the one before stayed open and in use, as brokers of the new one with the same
// numbers: events went to the old cluster for as long as such a connection lived, and a producer id could come from one and be used in the other.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ExactShipper } from "../exact_shipper.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { armTestKnobs } from "../../src/telemetry/test_knobs.ts";
import { tempDir } from "../support/temp_dir.ts";

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: "20" }));
afterAll(() => armTestKnobs({}));

test("nothing goes to the old cluster once it is known that there is another one", async () => {
  await using dir = tempDir("moved");
  await using before = await FakeKafka.start(2, { logs: 2 });
  await using after = await FakeKafka.start(2, { logs: 2 });
  await using shipper = new ExactShipper(dir);
  after.clusterId = "another";
  const file = dir.file("app.log");
  const write = (from: number, to: number) => {
    for (let i = from; i < to; i++) appendFileSync(file, `{"message":"${i}","k":"k${i}"}\n`);
  };
  write(0, 20);
  await shipper.start(`[sources.app]
type = "file"
include = [${JSON.stringify(file)}]
glob_minimum_cooldown_ms = 20
decoding.codec = "json"
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify([before.bootstrapServers[0]])}
topic = "logs"
key_field = "k"
batch = { max_events = 4, timeout_ms = 1 }
retry = { interval_ms = 1, max_interval_ms = 5 }
metadata_refresh_ms = 100
`);
  const isSettled = () => shipper.metrics.sink("events").inFlightEvents === 0;
  await until(() => before.values().length === 20 && isSettled(), "delivered");
  // The address of the first broker leads to another cluster now; the connection to the second broker of the old one stays.
  const [first] = before.brokers;
  for (const [apiKey, handler] of after.brokers[0]!.handlers) first!.on(apiKey, handler);
  first!.cutAll();
  write(20, 60);
  await until(
    () => shipper.log.texts("warn").some((text) => text.includes('cluster "another"')),
    "that is told",
  );
  // What was on its way to the old cluster is sent to the new one.
  const there = () => new Set([...before.values(), ...after.values()]).size;
  await until(() => there() === 60, "all are there");
  const [count, idCount] = [before.values().length, before.brokers[1]!.countOf(ApiKey.InitProducerId)];
  write(60, 100);
  await until(() => there() === 100, "those behind are there");
  await shipper.stop();
  expect([before.values().length, before.brokers[1]!.countOf(ApiKey.InitProducerId)]).toEqual([
    count,
    idCount,
  ]);
  expect(new Set(after.values()).size).toBe(after.values().length);
  expect([...before.violations, ...after.violations, ...shipper.differences()]).toEqual([]);
}, 20_000);
