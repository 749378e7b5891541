// A segment of a disk buffer that somebody had cut inside a group was read again and again, without end and without a word.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";
import { numbered } from "../storage/open_log.ts";

for (const cutBytes of [4_096 + 20, 4_096 + 500, 8_192 + 20, 8_192 + 500]) {
  test(`a segment that ends at byte ${cutBytes} is read up to there, and what was behind is counted`, async () => {
    const disks = new BufferDisks();
    const file = new ModelFile("f0");
    let bench = await BufferBench.open(disks);
    bench.announce(file);
    for (let i = 0; i < 3; i++) {
      file.append(Array.from({ length: 30 }, () => 30));
      bench.read(file);
      await turns(10);
    }
    await bench.close();
    const name = numbered(disks.buffer).at(-1)!;
    disks.buffer.put(name, Buffer.from(disks.buffer.content(name).subarray(0, cutBytes)));
    bench = await BufferBench.open(disks);
    const values = await bench.deliver();
    file.append([30]);
    bench.read(file);
    await turns(10);
    values.push(...await bench.deliver());
    expect(values.at(-1)).toBe(file.lines.at(-1)!);
    expect(values.length + bench.metrics.sink("s").lost.total()).toBe(file.lines.length);
    expect(bench.differences()).toEqual([]);
    await bench.close();
  });
}
