import { beforeAll, expect, test } from "bun:test";
import { diskBuffer } from "../support/disk_buffer.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { filesToKafka } from "../support/scenario.ts";
import { runShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

// A group that is as large as the whole buffer makes a segment of that size. When its events were delivered the buffer had no room, and the segment
// was not freed, because only the next group begins another one: shipper stood still for ever.

const LINE_BYTES = 900_000;
const LINES = 6;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

for (const whenFull of ["block", "drop_oldest"] as const) {
  test(
    `lines that are nearly as large as a disk buffer go through it one after the other (${whenFull})`,
    async () => {
      await using dir = tempDir("large-segment");
      const topic = await kafka.createTopic();
      const sink = diskBuffer("1MiB", whenFull);
      const source = "max_line_bytes = 1000000";
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, source, sink });
      let text = "";
      for (let i = 0; i < LINES; i++) text += `${String(i).padEnd(LINE_BYTES, "x")}\n`;
      await Bun.write(dir.file("a.log"), text);
      const exit = await runShipper({ config, args: ["--once"], timeoutMs: 40_000 });
      const numbers = (await kafka.readTopic(topic)).map(({ value }) => parseInt(String(value), 10));
      if (whenFull === "block") {
        expect(exit).toMatchObject({ code: 0 });
        expect(numbers).toEqual([...Array(LINES).keys()]);
      } else {
        // What was dropped while one was on its way is counted.
        const dropped = Number(/Dropped (\d+) events/.exec(exit.stderr)?.[1] ?? 0);
        expect(numbers.length + dropped).toBe(LINES);
        expect(numbers.length).toBeGreaterThan(0);
      }
    },
    90_000,
  );
}
