import { expect, test } from "bun:test";
import { copyFileSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { bufferDirOf, DISK, fillBuffer, linesOf, segmentFile } from "../cli/buffer_harness.ts";
import { FakeProcess } from "../cli/fake_process.ts";
import { StateHarness } from "../cli/state_harness.ts";

// A segment of another buffer, with the highest number in the folder, decided which buffer it was: what belonged to the right one was lost.
test(
  "a segment that was copied from another buffer is set aside, and the buffer's own events are delivered",
  async () => {
    await using state = await StateHarness.start();
    await using other = await StateHarness.start();
    const more = { top: "shutdown_timeout_secs = 0.2", sink: DISK };
    for (const [harness, fills] of [[state, 1], [other, 3]] as const) {
      const away = harness.config(["events"], { ...more, isBrokerAway: true });
      writeFileSync(harness.dir.file("a.log"), "");
      for (let i = 0; i < fills; i++) await fillBuffer(harness, away, 10 * i, [10]);
    }
    const foreign = segmentFile(other, -1);
    const copy = join(bufferDirOf(state), basename(foreign));
    expect(existsSync(copy)).toBe(false);
    copyFileSync(foreign, copy);
    const host = new FakeProcess();
    expect(await host.run(state.config(["events"], more), { once: true })).toBe(0);
    expect(state.kafka.values()).toEqual(linesOf(0, 10));
    expect(host.logged("error").map(({ message }) => message)).toEqual([
      `Cannot use a file of a disk buffer: "${copy}": it belongs to another buffer; it is kept in "${
        bufferDirOf(state)
      }/damaged"`,
    ]);
    expect(readdirSync(join(bufferDirOf(state), "damaged"))).toHaveLength(1);
  },
  60_000,
);
