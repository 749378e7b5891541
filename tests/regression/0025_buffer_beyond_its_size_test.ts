// A disk buffer that was nearly full took what was left of its last segment for room, where nothing fitted any more: it went on in another file, and in
// another, without end. And one whose only segment was larger than was allowed never had room again.
import { expect, test } from "bun:test";
import { BENCH_MAX_BYTES, BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

for (const durability of ["machine", "process"] as const) {
  for (const lineCount of [1, 7, 40, 300]) {
    test(`batches of ${lineCount} fill it up to its size (${durability})`, async () => {
      const disks = new BufferDisks();
      const file = new ModelFile("f0");
      const bench = await BufferBench.open(disks, { durability });
      bench.announce(file);
      file.append(Array.from({ length: 6_000 }, () => 58));
      for (let i = 0; i < 6_000 && bench.read(file, lineCount * 59) > 0; i++) await turns(3);
      expect(disks.buffer.usedBytes()).toBeLessThanOrEqual(BENCH_MAX_BYTES);
      expect(disks.buffer.usedBytes()).toBeGreaterThan(BENCH_MAX_BYTES / 2);
      const values = await bench.deliver();
      while (values.length < file.lines.length) {
        expect(bench.buffer.hasRoom()).toBe(true);
        bench.read(file);
        await turns(3);
        values.push(...await bench.deliver());
        expect(disks.buffer.usedBytes()).toBeLessThanOrEqual(BENCH_MAX_BYTES);
      }
      expect(values).toEqual(file.lines);
      await bench.close();
    });
  }
}

test("a batch that is larger than the buffer goes through it alone, again and again", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  const bench = await BufferBench.open(disks, { maxSizeBytes: 65_536 });
  bench.announce(file);
  const values: string[] = [];
  for (let i = 0; i < 5; i++) {
    file.append(Array.from({ length: 300 }, () => 58));
    while (values.length < file.lines.length) {
      let isWoken = false;
      void bench.buffer.waitForRoom(new AbortController().signal).then(() => isWoken = true);
      bench.read(file);
      await turns(5);
      values.push(...await bench.deliver());
      expect(isWoken).toBe(true);
    }
  }
  expect(values).toEqual(file.lines);
  await bench.close();
});
