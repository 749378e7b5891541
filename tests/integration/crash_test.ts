import { beforeAll, expect, test } from "bun:test";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka, rotate, SteadyLoad } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

const CRASHES = 5;
const CRASH_AFTER_MS_MIN = 100;
const CRASH_AFTER_MS_MAX = 1_500;
/** Slow enough that every crash comes in the middle: about 2.5 MB/s with batches of 50 kB on three partitions. */
const BROKER_DELAY_MS = 30;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** Numbers from 0 to 1 that can be had again by the seed, which a failing test prints. */
function randomNumbers(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Runs shipper and kills it by SIGKILL at a random moment, `CRASHES` times. `during` happens in the life of each. */
async function crash(config: string, seed: number, during: () => void = () => {}): Promise<void> {
  const random = randomNumbers(seed);
  for (let round = 0; round < CRASHES; round++) {
    await using shipper = startShipper({ config });
    const lifeMs = CRASH_AFTER_MS_MIN + random() * (CRASH_AFTER_MS_MAX - CRASH_AFTER_MS_MIN);
    await Bun.sleep(lifeMs / 2);
    during();
    await Bun.sleep(lifeMs / 2);
    expect((await shipper.kill()).signal).toBe("SIGKILL");
  }
}

test("kill -9 five times while several files are shipped, and a restart, lose nothing", async () => {
  await using dir = tempDir("crash");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const seed = Date.now();
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log", "c.log", "d.log"].map((name) => new OracleWriter("crash", name));
  for (const writer of writers) writer.append(dir.file(writer.file), 40_000);
  const config = filesToKafka(dir, {
    bootstrap: proxy.address,
    topic,
    sink: "batch.max_bytes = 50000",
  });
  proxy.setFault({ delayMs: BROKER_DELAY_MS });
  await crash(config, seed);
  proxy.heal();
  expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  const { duplicatedCount } = await expectExactly(kafka, topic, writers);
  console.log(`Seed ${seed}: 160000 lines, ${duplicatedCount} sent twice after ${CRASHES} crashes`);
}, 120_000);

test(
  "kill -9 five times while files are written and rotated lose nothing, in order where there is one partition",
  async () => {
    await using dir = tempDir("crash-rotate");
    const seed = Date.now();
    const topic = await kafka.createTopic();
    const writers = ["a.log", "b.log"].map((name) => new OracleWriter("crash-rotate", name));
    for (const writer of writers) writer.append(dir.file(writer.file), 1_000);
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    // A file that was rotated before anybody has seen it is not found afterwards, and a start may take longer than the first life.
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    using load = new SteadyLoad(dir, writers, 5_000);
    let rotatedCount = 0;
    await crash(config, seed, () => {
      for (const writer of writers) rotate(dir.file(writer.file), rotatedCount);
      rotatedCount++;
    });
    // And once more while it is down.
    for (const writer of writers) rotate(dir.file(writer.file), rotatedCount);
    await Bun.sleep(100);
    load.stop();
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    const { duplicatedCount } = await expectExactly(kafka, topic, writers);
    console.log(`Seed ${seed}: ${load.count} lines, ${duplicatedCount} sent twice after ${CRASHES} crashes`);
  },
  120_000,
);
