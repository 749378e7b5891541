import { expect, test } from "bun:test";
import { RESERVED_FREE_BYTES } from "../../src/buffer/disk_room.ts";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

// On a disk that the disk buffer itself had filled up to what is left to the journal, nothing went through it any more once it was empty: the files of two
// segments that are kept for later took the room, and nothing was written to them, because the disk counted as full.

/** Between two and three of the bench's segments. */
const DISK_BYTES = 90_000;

test("an empty buffer takes events on a disk that its spare files had filled", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  const freeBytes = () => RESERVED_FREE_BYTES + DISK_BYTES - disks.buffer.usedBytes();
  const bench = await BufferBench.open(disks, { freeBytes });
  bench.announce(file);
  file.append(Array.from({ length: 8_000 }, () => 58));
  const values: string[] = [];
  const deadlineMs = performance.now() + 60_000;
  // Read as far as there is room, then deliver all of it, as after an outage; the free room is asked for once a second.
  while (values.length < file.lines.length && performance.now() < deadlineMs) {
    bench.read(file, 4_096);
    await turns(3);
    if (!bench.buffer.hasRoom()) {
      values.push(...await bench.deliver());
      await bench.journal.store();
      await Bun.sleep(20);
    }
    if (bench.offsets.get(file.stream.id) === file.content.length) values.push(...await bench.deliver());
  }
  expect(values).toEqual(file.lines);
  expect(bench.log.texts("warn").some((text) => text.includes("counts as full"))).toBe(true);
  expect(bench.differences()).toEqual([]);
  await bench.close();
}, 90_000);
