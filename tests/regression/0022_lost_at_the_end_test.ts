// Events that were lost at the end of a disk buffer were not missed: their numbers were given to others, and nothing was counted.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";
import { numbered } from "../storage/open_log.ts";

async function damaged(damage: (disks: BufferDisks, segments: readonly string[]) => void) {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  const bench = await BufferBench.open(disks);
  bench.announce(file);
  for (let i = 0; i < 20; i++) {
    file.append(Array.from({ length: 40 }, () => 50));
    bench.read(file);
    await turns(10);
  }
  await bench.close();
  const segments = numbered(disks.buffer);
  expect(segments.length).toBeGreaterThan(2);
  damage(disks, segments);
  return { disks, file };
}

const flip = (disks: BufferDisks, name: string, byte: number) => {
  disks.buffer.content(name)[byte]! ^= 1;
};

test("a newest segment whose header is damaged is lost and counted, at once", async () => {
  const { disks, file } = await damaged((all, segments) => flip(all, segments.at(-1)!, 20));
  const bench = await BufferBench.open(disks);
  const values = await bench.deliver();
  expect(values).toEqual(file.lines.slice(0, values.length));
  expect(values.length + bench.metrics.sink("s").lost.total()).toBe(800);
  expect(values.length).toBeGreaterThan(0);
  expect([bench.metrics.sink("s").carriedEvents, bench.metrics.sink("s").bufferedEvents]).toEqual([0, 0]);
  expect(bench.differences()).toEqual([]);
  await bench.close();
});

test("a newest segment that is gone is lost and counted, and what comes then is delivered", async () => {
  const { disks, file } = await damaged((all, segments) => all.buffer.delete(segments.at(-1)!));
  const bench = await BufferBench.open(disks);
  const values = await bench.deliver();
  file.append([10]);
  bench.read(file);
  await turns(10);
  values.push(...await bench.deliver());
  expect(values.at(-1)).toBe(file.lines.at(-1)!);
  expect(values.length + bench.metrics.sink("s").lost.total()).toBe(801);
  expect(bench.differences()).toEqual([]);
  await bench.close();
});

test("what this run put in last and cannot be read is lost and counted while it runs", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  const bench = await BufferBench.open(disks);
  bench.announce(file);
  const write = disks.buffer.write.bind(disks.buffer);
  // The device takes other bytes than it was given.
  disks.buffer.write = (fd, source, ...rest) => write(fd, Buffer.from(source).fill(1, 45, 46), ...rest);
  file.append([10, 20]);
  bench.read(file);
  await turns(10);
  expect(await bench.deliver()).toEqual([]);
  expect(bench.metrics.sink("s").lost.total()).toBe(2);
  expect(bench.metrics.sink("s").bufferedEvents).toBe(0);
  expect(bench.differences()).toEqual([]);
  await bench.close();
});
