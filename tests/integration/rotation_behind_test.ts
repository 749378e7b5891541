import { beforeAll, expect, test } from "bun:test";
import { unlinkSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka, rotate, SteadyLoad } from "../support/scenario.ts";
import { runShipper, type Shipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const ROTATE_MS = 1_000;
const ROTATIONS = 6;
/** Rotated files that are not deleted. */
const KEPT = 2;
const LINES_PER_SECOND = 10_000;
/** One batch of this size a round trip: with the delay below a tenth of what is written gets through. */
const SLOW_SINK = "batch.max_bytes = 10000\nbatch.timeout_ms = 1\nretry.max_interval_ms = 1000\n";
const SLOW_DELAY_MS = 40;
const CATCH_UP_MS = 30_000;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

async function catchUp(shipper: Shipper, topic: string, count: number): Promise<void> {
  let seen = 0;
  await waitUntil(
    `topic "${topic}" holds ${count} records`,
    async () => (seen = await kafka.countRecords(topic)) >= count,
    { timeoutMs: CATCH_UP_MS, pollMs: 50 },
  ).catch((error: Error) => {
    throw new Error(`${error.message}; it holds ${seen}\n${shipper.stderr.slice(-2_000)}`);
  });
}

async function end(shipper: Shipper): Promise<void> {
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
}

for (const deletesOld of [false, true]) {
  const what = deletesOld ? ", the oldest deleted before they are read" : "";
  test(
    `rename rotation every second while it is ten times behind${what}: none lost, none twice, in order`,
    async () => {
      await using dir = tempDir("behind");
      await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("behind", "app.log", 100);
      const path = dir.file("app.log");
      writer.append(path, 100);
      const config = filesToKafka(dir, { bootstrap: proxy.address, topic, include: [path], sink: SLOW_SINK });
      await using shipper = startShipper({ config });
      await waitUntil("it ships", async () => await kafka.countRecords(topic) > 0);
      proxy.setFault({ delayMs: SLOW_DELAY_MS });
      using load = new SteadyLoad(dir, [writer], LINES_PER_SECOND);
      for (let count = 0; count < ROTATIONS; count++) {
        await Bun.sleep(ROTATE_MS);
        // It was opened when it was found: its bytes can be read although its name is gone.
        if (deletesOld && count >= KEPT) unlinkSync(`${path}.${KEPT}`);
        rotate(path, deletesOld ? Math.min(count, KEPT - 1) : count);
      }
      await Bun.sleep(ROTATE_MS);
      const written = load.stop();
      expect(await kafka.countRecords(topic)).toBeLessThan(written / 4);
      proxy.heal();
      await catchUp(shipper, topic, written);
      await end(shipper);
      await expectExactly(kafka, topic, [writer]);
    },
    180_000,
  );
}

test("rotations while the broker answers nothing at all are all read when it does again", async () => {
  await using dir = tempDir("stalled");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("stalled", "app.log", 100);
  const path = dir.file("app.log");
  writer.append(path, 100);
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic, include: [path], sink: SLOW_SINK });
  await using shipper = startShipper({ config });
  await waitUntil("it ships", async () => await kafka.countRecords(topic) > 0);
  proxy.setFault({ stall: ["request", "response"] });
  using load = new SteadyLoad(dir, [writer], LINES_PER_SECOND);
  for (let count = 0; count < ROTATIONS; count++) {
    await Bun.sleep(ROTATE_MS / 2);
    rotate(path, count);
  }
  await Bun.sleep(ROTATE_MS / 2);
  const written = load.stop();
  proxy.heal();
  await catchUp(shipper, topic, written);
  await end(shipper);
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

test("rotations that a frozen shipper does not see are found when it wakes up", async () => {
  await using dir = tempDir("frozen");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("frozen", "app.log", 100);
  const path = dir.file("app.log");
  writer.append(path, 100);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, include: [path] });
  await using shipper = startShipper({ config });
  await waitUntil("it ships", async () => await kafka.countRecords(topic) > 0);
  using load = new SteadyLoad(dir, [writer], LINES_PER_SECOND);
  await Bun.sleep(ROTATE_MS / 2);
  shipper.signal("SIGSTOP");
  for (let count = 0; count < 4; count++) {
    rotate(path, count);
    await Bun.sleep(ROTATE_MS / 2);
  }
  shipper.signal("SIGCONT");
  await Bun.sleep(ROTATE_MS / 2);
  await catchUp(shipper, topic, load.stop());
  await end(shipper);
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

for (const rotations of [1, 3]) {
  test(
    `${rotations} rotation(s) while it is stopped: the next run goes on where it was, in order`,
    async () => {
      await using dir = tempDir("stopped");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter(`stopped-${rotations}`, "app.log");
      const path = dir.file("app.log");
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, include: [path] });
      writer.append(path, 5_000);
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      writer.append(path, 5_000);
      for (let count = 0; count < rotations; count++) {
        rotate(path, count);
        writer.append(path, 5_000);
      }
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, [writer]);
    },
    90_000,
  );
}
