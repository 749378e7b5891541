// Events that were dropped before they had an intent (message_timeout_ms) were told to the journal a second later, but later lines were in intents at
// once. After a kill in between the dropped ones were read again, and delivered behind later lines of their file.
import { expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { ExactShipper, fileToLogs } from "../exact_shipper.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { tempDir } from "../support/temp_dir.ts";

test("a dropped line is not delivered behind one that came later", async () => {
  await using dir = tempDir("dropped");
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using shipper = new ExactShipper(dir);
  const file = dir.file("app.log");
  const toml = fileToLogs(file, kafka, {
    source: 'decoding.codec = "json"',
    sink: `key_field = "k"
batch = { max_events = 4, timeout_ms = 1 }
metadata_refresh_ms = 100
message_timeout_ms = 1500`,
  });
  const write = (from: number, to: number) => {
    for (let i = from; i < to; i++) appendFileSync(file, `{"message":"${i}","k":"k"}\n`);
  };
  const dropped = () => shipper.metrics.sink("events").dropped.total();
  write(0, 1);
  await shipper.start(toml);
  await until(() => kafka.values().length === 1, "delivered");
  kafka.moveLeader(-1, "logs", 0);
  // Until that is known, a batch would be sent, and its answer would say nothing.
  await Bun.sleep(300);
  write(1, 41);
  await until(() => dropped() === 40, "dropped");
  kafka.moveLeader(1, "logs", 0);
  write(41, 42);
  await until(() => kafka.values().includes("41"), "a later line is there");
  await shipper.kill();
  await shipper.start(toml);
  write(42, 43);
  await until(() => kafka.values().includes("42"), "it goes on");
  await shipper.stop();
  expect(kafka.values()).toEqual(["0", "41", "42"]);
  expect(kafka.violations).toEqual([]);
}, 30_000);
