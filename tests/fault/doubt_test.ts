import { beforeAll, expect, test } from "bun:test";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { FAST } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, type Shipper, startShipper } from "../support/shipper.ts";
import { waitUntilStored } from "../support/stored_position.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const CATCH_UP_MS = 30_000;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

function openProxy(): Promise<Proxy> {
  return startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
}

function waitForCount(topic: string, count: number): Promise<unknown> {
  return waitUntil(`${count} records`, async () => await kafka.countRecords(topic) >= count, { pollMs: 20 });
}

async function stopWhenThere(shipper: Shipper, topic: string, count: number): Promise<string> {
  let seen = 0;
  await waitUntil(`${count} records`, async () => (seen = await kafka.countRecords(topic)) >= count, {
    timeoutMs: CATCH_UP_MS,
    pollMs: 50,
  }).catch((error: Error) => {
    throw new Error(`${error.message}; there are ${seen}\n${shipper.stderr.slice(-3_000)}`);
  });
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  expect(exit).toMatchObject({ code: 0, signal: null });
  return exit.stderr;
}

for (const crashAt of ["after_ack", "after_intent_fsync"] as const) {
  test.concurrent(
    `a topic that is deleted and made again while a batch is in doubt (${crashAt}): sent once to the new one`,
    async () => {
      await using dir = tempDir("recreated");
      seededRandom(`topic made again, ${crashAt}`);
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("recreated", "a.log");
      writer.append(dir.file(writer.file), 300);
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
      expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
      await kafka.deleteTopic(topic);
      await kafka.createTopic({ name: topic, partitions: 2 });
      writer.append(dir.file(writer.file), 300);
      // It looks twice before it gives new numbers.
      const env = { SHIPPER_TEST_RECHECK_MS: "2000" };
      expect(await runShipper({ config, args: ["--once"], testBuild: true, env })).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, [writer]);
    },
    120_000,
  );
}

test(
  "a topic that is deleted and made again while an answer is missing: sent once to the new one",
  async () => {
    await using dir = tempDir("recreated-live");
    await using proxy = await openProxy();
    seededRandom("topic made again, live");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("recreated-live", "a.log");
    const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink: FAST });
    await using shipper = startShipper({ config });
    // This one is acknowledged, and goes with the old topic.
    new OracleWriter("recreated-live", "first.log").append(dir.file("first.log"), 1);
    await waitForCount(topic, 1);
    await waitUntilStored(dir.file("data"), dir.file("first.log"));
    proxy.setFault({ swallow: ["response"] });
    writer.append(dir.file(writer.file), 300);
    await waitForCount(topic, 301);
    await kafka.deleteTopic(topic);
    await kafka.createTopic({ name: topic });
    writer.append(dir.file(writer.file), 300);
    proxy.cut();
    proxy.heal();
    await stopWhenThere(shipper, topic, 600);
    await expectExactly(kafka, topic, [writer]);
  },
  120_000,
);

test(
  "a topic that is deleted and made again before anybody has heard of it takes a batch, and the process is killed: there once",
  async () => {
    await using dir = tempDir("recreated-unheard");
    seededRandom("topic made again, unheard");
    const topic = await kafka.createTopic();
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
    const writer = new OracleWriter("recreated-unheard", "a.log");
    {
      await using shipper = startShipper({ config });
      // This one goes with the old topic.
      new OracleWriter("recreated-unheard", "first.log").append(dir.file("first.log"), 1);
      await waitForCount(topic, 1);
      await waitUntilStored(dir.file("data"), dir.file("first.log"));
      await kafka.deleteTopic(topic);
      await kafka.createTopic({ name: topic });
      writer.append(dir.file(writer.file), 300);
      await waitForCount(topic, 300);
      await shipper.kill();
    }
    writer.append(dir.file(writer.file), 300);
    const env = { SHIPPER_TEST_RECHECK_MS: "2000" };
    expect(await runShipper({ config, args: ["--once"], testBuild: true, env })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, [writer]);
  },
  120_000,
);

for (const mode of ["of a process that goes on", "of a process that was killed"] as const) {
  test(`requests that arrive late, after those that came to take their place, ${mode}: exact`, async () => {
    await using dir = tempDir("late");
    await using proxy = await openProxy();
    const random = seededRandom(`late requests ${mode}`);
    const topic = await kafka.createTopic({ partitions: 3 });
    const writers = ["a.log", "b.log"].map((file) => new OracleWriter("late", file));
    const config = filesToKafka(dir, {
      bootstrap: proxy.address,
      topic,
      sink: `${FAST}\nbatch.max_bytes = 20000`,
    });
    const write = () => {
      for (const writer of writers) writer.append(dir.file(writer.file), random.between(300, 900));
    };
    let strandedCount = 0;
    let shipper = startShipper({ config });
    try {
      write();
      for (let round = 0; round < 6; round++) {
        // It has a producer id, and nothing but batches to send.
        await waitForCount(topic, writers[0]!.count + writers[1]!.count);
        proxy.setFault({ stall: ["request"] });
        write();
        await waitUntil("requests wait on the way", () => proxy.heldRequestCount > 0);
        await Bun.sleep(random.between(0, 50));
        strandedCount += proxy.strand();
        if (mode === "of a process that was killed") {
          await shipper.kill();
          shipper = startShipper({ config });
        }
        proxy.heal();
        // Sometimes the late ones come before the repeat, sometimes behind it and what followed.
        if (round % 3 === 0) await Bun.sleep(random.between(0, 60));
        else await waitForCount(topic, writers[0]!.count + writers[1]!.count);
        write();
        proxy.deliverLate();
      }
      await stopWhenThere(shipper, topic, writers[0]!.count + writers[1]!.count);
    } finally {
      await shipper.kill();
    }
    expect(strandedCount).toBeGreaterThanOrEqual(6);
    await expectExactly(kafka, topic, writers);
  }, 120_000);
}

for (const isRestarted of [false, true]) {
  test(
    `max.message.bytes lowered after the batch was written, its answer lost, ${
      isRestarted ? "and killed" : "and sent again"
    }: counted as delivered`,
    async () => {
      await using dir = tempDir("lowered");
      await using proxy = await openProxy();
      seededRandom("max.message.bytes lowered");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("lowered", "a.log");
      const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink: FAST });
      await using first = startShipper({ config });
      writer.append(dir.file(writer.file), 1);
      await waitForCount(topic, 1);
      await waitUntilStored(dir.file("data"), dir.file(writer.file));
      proxy.setFault({ swallow: ["response"] });
      writer.append(dir.file(writer.file), 300);
      await waitForCount(topic, 301);
      await kafka.alterConfigs("topic", topic, { "max.message.bytes": "1000" });
      if (isRestarted) await first.kill();
      await using second = isRestarted ? startShipper({ config }) : null;
      const shipper = second ?? first;
      proxy.cut();
      proxy.heal();
      // New lines go out in batches that are split until they fit.
      writer.append(dir.file(writer.file), 20);
      const log = await stopWhenThere(shipper, topic, 321);
      // A process that only found out that an earlier one's batch had arrived has not delivered it.
      expect(log).toContain(`"message":"Stopped","delivered":${isRestarted ? 20 : 321}`);
      expect(log).not.toContain("dropped and counted");
      await expectExactly(kafka, topic, [writer]);
    },
    120_000,
  );
}
