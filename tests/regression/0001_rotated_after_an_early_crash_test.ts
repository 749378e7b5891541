// A file was stored as known only a second after it was found. kill -9 before that, and a rotation before the restart, lost its last lines:
// nothing said that app.log.1 had been read. New files are stored at once.
import { expect, test } from "bun:test";
import { sharedCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectAtLeastOnce, filesToKafka, rotate } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const STORED_AFTER_MS = 200;

test("a file that is rotated after a crash in the first second is read to its end", async () => {
  const kafka = await sharedCluster();
  await using dir = tempDir("early-crash");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("early-crash", "app.log");
  const path = dir.file("app.log");
  writer.append(path, 10);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
  {
    await using shipper = startShipper({ config });
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 10);
    await Bun.sleep(STORED_AFTER_MS);
    await shipper.kill();
  }
  writer.append(path, 10);
  rotate(path, 0);
  writer.append(path, 10);
  expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  await expectAtLeastOnce(kafka, topic, [writer]);
}, 120_000);
