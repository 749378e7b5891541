import { afterAll, beforeAll, expect, test } from "bun:test";
import { freePorts } from "../../scripts/lib/ports.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { seqOf, TimedWriter } from "../support/timed_lines.ts";
import { waitUntil } from "../support/wait_until.ts";

// Records that carry old times of events: brokers forget at once what they had of their producer.

const CLUSTER_TIMEOUT_MS = 120_000;
const MONTH_AGO_MS = Date.now() - 30 * 86_400_000;
const SOURCE = 'decoding.codec = "json"';
const SINK =
  `timestamp_source = "event"\nbatch.max_bytes = 20000\nretry.interval_ms = 20\nretry.max_interval_ms = 200
connect_timeout_ms = 1000\nsocket_timeout_ms = 1000\nrequest_timeout_ms = 500`;

let own: OwnCluster;
beforeAll(async () => {
  own = await ownCluster({
    settings: { "producer.id.expiration.check.interval.ms": "300" },
    advertisedPorts: await freePorts(1),
  });
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

const isForgotten = async (topic: string) => (await own.kafka.describeProducers(topic, 0)).length === 0;

for (const crashAt of ["after_ack:4", "after_intent_fsync:4", "after_send:3"] as const) {
  for (const more of ["", 'buffer.type = "disk"\nbuffer.max_size = "8MiB"']) {
    const where = more === "" ? "memory" : "disk";
    test.concurrent(
      `killed at ${crashAt}, and the producer forgotten: exact, with the events' times (${where})`,
      async () => {
        await using dir = tempDir("event-times");
        seededRandom(`event times, ${crashAt}`);
        const topic = await own.kafka.createTopic();
        const writer = new TimedWriter("times", "a.log", MONTH_AGO_MS);
        writer.append(dir.file(writer.file), 2_000);
        const options = { bootstrap: own.kafka.bootstrap, topic, source: SOURCE, sink: `${SINK}\n${more}` };
        const config = filesToKafka(dir, options);
        expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
        await waitUntil("the broker has forgotten the producer", () => isForgotten(topic), {
          timeoutMs: 40_000,
        });
        writer.append(dir.file(writer.file), 2_000);
        const exit = await runShipper({ config, args: ["--once"] });
        expect(exit.code, exit.stderr).toBe(0);
        await expectExactly(own.kafka, topic, [writer]);
        for (const { value, timestampMs } of await own.kafka.readTopic(topic)) {
          expect(timestampMs).toBe(writer.timeMs(seqOf(value)));
        }
      },
      120_000,
    );
  }
}

test("kill -9 again and again, with keys and headers, while answers are lost: exact", async () => {
  await using dir = tempDir("event-times-kill");
  await using proxy = await startProxy(own.kafka.proxied!.targetPort, own.kafka.proxied!.listenPort);
  const random = seededRandom("event times, kill -9");
  const topic = await own.kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((name) => new TimedWriter("times-kill", name, MONTH_AGO_MS));
  const sink =
    `${SINK}\nkey = "{{message}}!"\nheaders = { file = "{{file}}", same = "{{message}}" }\npartitioner = "fnv1a"`;
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic, source: SOURCE, sink });
  for (const writer of writers) writer.append(dir.file(writer.file), 500);
  using load = new SteadyLoad(dir, writers, 2_000);
  for (let cycle = 0; cycle < 12; cycle++) {
    await using shipper = startShipper({ config });
    await Bun.sleep(random.between(100, 600));
    if (cycle % 2 === 0) proxy.setFault({ swallow: ["response"] });
    await Bun.sleep(random.between(50, 500));
    if (cycle % 3 !== 0) await shipper.kill();
    else {
      // It goes on by itself: what was in doubt is looked for while it runs.
      proxy.cut();
      proxy.heal();
      await Bun.sleep(1_500);
      await shipper.kill();
    }
    proxy.heal();
  }
  load.stop();
  const exit = await runShipper({ config, args: ["--once"] });
  expect(exit.code, exit.stderr.slice(-3_000)).toBe(0);
  await expectExactly(own.kafka, topic, writers);
  for (const { value, key, headers, timestampMs } of await own.kafka.readTopic(topic)) {
    const writer = writers.find(({ file }) => file === String(value).split(" ")[1])!;
    expect(timestampMs).toBe(writer.timeMs(seqOf(value)));
    expect(String(key)).toBe(`${value}!`);
    expect(headers.map(([name, each]) => [name, String(each)])).toEqual([
      ["file", dir.file(writer.file)],
      ["same", String(value)],
    ]);
  }
}, 120_000);
