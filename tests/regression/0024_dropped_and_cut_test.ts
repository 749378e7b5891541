// What was dropped because a disk buffer was full is told by frames of the buffer. After a crash they were taken to be about whatever the file
// held by then: where it had been cut, new lines were passed over and lost. And one at the end of a segment was not looked at.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

/** Fills the buffer with what is nobody's business here. Returns the lines. */
async function fill(bench: BufferBench, file: ModelFile): Promise<void> {
  while (bench.buffer.roomEvents() > 0) {
    file.append(Array.from({ length: 40 }, () => 58));
    bench.read(file);
    await turns(5);
  }
}

for (const isWritten of [false, true]) {
  test(`lines that follow a cut are not taken for dropped ones (${isWritten ? "written" : "pending"})`, async () => {
    const disks = new BufferDisks();
    const other = new ModelFile("f0");
    const file = new ModelFile("f1");
    let bench = await BufferBench.open(disks, { whenFull: "drop_newest" });
    bench.announce(other);
    bench.announce(file);
    await fill(bench, other);
    file.append([50, 50, 50]);
    expect(bench.read(file)).toBe(file.content.length);
    expect(bench.metrics.sink("s").dropped.total()).toBe(3);
    if (isWritten) {
      await Bun.sleep(10);
      await turns(10);
    }
    file.cut(0);
    bench.journal.positions.rewind("app", "f1", "s", 0);
    bench.offsets.set("f1", 0);
    if (!isWritten) {
      await Bun.sleep(10);
      await turns(10);
    }
    await bench.journal.store();
    bench.die();
    disks.kill();
    file.append([50, 50, 50]);
    bench = await BufferBench.open(disks, { whenFull: "block" });
    await bench.deliver();
    bench.read(file);
    await turns(10);
    expect(await bench.deliver()).toEqual(file.lines);
    await bench.close();
  });
}

test("lines that are dropped behind a cut are not read again behind later ones", async () => {
  const disks = new BufferDisks();
  const other = new ModelFile("f0");
  const file = new ModelFile("f1");
  let bench = await BufferBench.open(disks, { whenFull: "drop_newest" });
  bench.announce(other);
  bench.announce(file);
  file.append([50]);
  bench.read(file);
  await fill(bench, other);
  file.cut(0);
  bench.journal.positions.rewind("app", "f1", "s", 0);
  bench.offsets.set("f1", 0);
  file.append([50, 50]);
  bench.read(file);
  await bench.deliver();
  await turns(20);
  file.append([20]);
  bench.read(file);
  await turns(20);
  bench.die();
  disks.kill();
  bench = await BufferBench.open(disks, { whenFull: "block" });
  expect(bench.read(file)).toBe(0);
  const values = await bench.deliver();
  expect(values.filter((value) => value.startsWith("f1"))).toEqual(file.lines.slice(-1));
  await bench.close();
});

test("lines that were dropped at the end of a segment are not read again", async () => {
  const disks = new BufferDisks();
  const other = new ModelFile("f0");
  const file = new ModelFile("f1");
  let bench = await BufferBench.open(disks, { whenFull: "drop_newest" });
  bench.announce(other);
  bench.announce(file);
  await fill(bench, other);
  await bench.journal.store();
  file.append([50, 50]);
  bench.read(file);
  await Bun.sleep(10);
  await turns(10);
  bench.die();
  disks.kill();
  bench = await BufferBench.open(disks, { whenFull: "drop_newest" });
  await bench.deliver();
  await turns(20);
  expect(bench.read(file)).toBe(0);
  await bench.close();
});

test("a segment that ends with what was dropped, and one behind it with the next event: both are looked at", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f1");
  let bench = await BufferBench.open(disks, { whenFull: "drop_newest" });
  bench.announce(file);
  file.append([20]);
  bench.read(file);
  await turns(20);
  await bench.journal.store();
  const { stream } = file;
  file.append([50, 50]);
  const region = bench.journal.positions.ledger(stream, "s", 0).track({
    startOffset: 21,
    endOffset: file.content.length,
    crc32: 0,
    lineCount: 0,
    startsInsideCutLine: false,
    endsInsideCutLine: false,
  });
  bench.buffer.skip(region);
  await Bun.sleep(10);
  await turns(10);
  bench.offsets.set("f1", file.content.length);
  // What fails is written to another segment.
  disks.buffer.faults.set(disks.buffer.calls, "EIO");
  file.append([58]);
  bench.read(file);
  await turns(20);
  bench.die();
  disks.kill();
  bench = await BufferBench.open(disks);
  expect(bench.journal.positions.position("app", "f1", "s")).toBeGreaterThan(21 + 2 * 51);
  await bench.close();
});
