import { beforeAll, expect, test } from "bun:test";
import { renameSync, statSync } from "node:fs";
import { basename } from "node:path";
import {
  API,
  bufferSegments,
  damagedSegments,
  diskBuffer,
  finish,
  toldLosses,
  waitForBuffered,
} from "../support/disk_buffer.ts";
import { flipBit } from "../support/journal_damage.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { checkTopic, filesToKafka } from "../support/scenario.ts";
import { startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

// Segments of a disk buffer in which nothing good was left in front of the first good event were taken for delivered, and removed; damage in the last
// group of one that an earlier run wrote was taken for its end. The events were counted, but nobody said which file it was, and the file was gone.

const LINES = 10_000;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

test("every damaged segment is named and kept", async () => {
  await using dir = tempDir("damaged-kept");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("kept", "a.log");
  writer.append(dir.file(writer.file), LINES);
  const configOf = (bootstrap: string) =>
    filesToKafka(dir, {
      bootstrap,
      topic,
      top: `${API}\nshutdown_timeout_secs = 1`,
      sink: diskBuffer("2MiB"),
    });
  {
    await using shipper = startShipper({ config: configOf("127.0.0.1:1") });
    await waitForBuffered(shipper, LINES);
    shipper.signal("SIGTERM");
    await shipper.waitForExit();
  }
  const segments = bufferSegments(dir.file("data")).filter((path) => statSync(path).size > 16_384);
  const [first, second, third] = segments as [string, string, string];
  renameSync(first, `${first}.x`);
  renameSync(second, first);
  renameSync(`${first}.x`, second);
  flipBit(third, 20_000);
  const exit = await finish(configOf(kafka.bootstrap));
  const { code, lostCount } = toldLosses(exit);
  expect((await checkTopic(kafka, topic, [writer])).report()).toMatchObject({
    lostCount,
    duplicatedCount: 0,
  });
  expect({ code, isSomeLost: lostCount > 0 }).toEqual({ code: 1, isSomeLost: true });
  const kept = damagedSegments(dir.file("data")).join();
  for (const path of [first, second, third]) expect(kept).toContain(basename(path));
  expect(exit.stderr).toContain(`segment ${parseInt(basename(third), 10)} in`);
}, 120_000);
