// A file that was cut told the journal that events of the disk buffer up to a number are about other bytes. When the numbers began again
// behind a crash, or in a new buffer, later events had such numbers too: after the next crash their lines were read and delivered twice.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

test("lines that come behind a cut and two kills arrive once", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  file.append([30, 30]);
  let bench = await BufferBench.open(disks);
  bench.announce(file);
  bench.read(file);
  await turns(20);
  const values = await bench.deliver();
  // A new stream has to be stored first, so these lines wait in memory, and the file is cut meanwhile.
  bench.announce(new ModelFile("f1"));
  file.append([30, 30, 30]);
  bench.read(file);
  file.cut(file.content.indexOf(10) + 1);
  bench.journal.positions.rewind("app", "f0", "s", file.content.length);
  disks.buffer.faults.set(disks.buffer.calls, "crash");
  await bench.journal.store();
  bench.die();
  disks.kill();
  await turns(5);

  bench = await BufferBench.open(disks);
  file.append([31, 32]);
  bench.read(file);
  await turns(20);
  bench.die();
  disks.kill();
  bench = await BufferBench.open(disks);
  bench.read(file);
  await turns(20);
  values.push(...await bench.deliver());
  const counts = file.lines.map((line) => values.filter((value) => value === line).length);
  expect(counts).toEqual([1, 1, 1]);
  await bench.close();
});

test("lines that come behind a cut in a buffer that begins anew arrive once", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  file.append([30, 30, 30, 30]);
  let bench = await BufferBench.open(disks);
  bench.announce(file);
  bench.read(file, 70);
  bench.read(file);
  await turns(20);
  const values = await bench.deliver();
  const [end] = bench.journal.positions.marks("app", "f0", "s").map(({ endOffset }) => endOffset);
  file.cut(end!);
  bench.journal.positions.rewind("app", "f0", "s", end!);
  await bench.close();
  // Started and stopped until no file of the buffer has an event.
  for (let i = 0; i < 3; i++) {
    bench = await BufferBench.open(disks);
    await bench.deliver();
    await bench.close();
  }
  bench = await BufferBench.open(disks);
  file.append([31]);
  bench.read(file);
  await turns(20);
  bench.die();
  disks.kill();
  bench = await BufferBench.open(disks);
  bench.read(file);
  await turns(20);
  values.push(...await bench.deliver());
  expect(values.filter((value) => value === file.lines.at(-1))).toEqual([file.lines.at(-1)!]);
  await bench.close();
});
