// Lines in front of the place where a file was cut were read and delivered twice when they were in a disk buffer, and in no stored position, as the
// file was cut and the process killed.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

test("lines in front of a cut arrive once, whatever was stored of them, and so do those behind", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  file.append([30, 30]);
  let bench = await BufferBench.open(disks);
  bench.announce(file);
  // Two regions, which wait for the journal to know the file.
  bench.read(file, 31);
  bench.read(file);
  file.cut(31);
  bench.journal.positions.rewind("app", "f0", "s", 31);
  bench.offsets.set("f0", 31);
  file.append([20, 20]);
  bench.read(file);
  await turns(20);
  bench.die();
  disks.kill();
  bench = await BufferBench.open(disks);
  bench.read(file);
  await turns(20);
  const values = await bench.deliver();
  expect(file.lines.map((line) => values.filter((value) => value === line).length)).toEqual([1, 1, 1]);
  await bench.close();
});
