// With durability = "process", lines that were written to a disk buffer counted as secured when the sync of them had failed and the one of the next
// segment had not: after a power cut they were neither in the buffer nor read again.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

test("positions do not move over lines whose sync failed before these are on the device", async () => {
  for (let seed = 1; seed < 12; seed++) {
    const disks = new BufferDisks(seed, 512);
    const file = new ModelFile("f0");
    const options = { durability: "process", timing: { syncIntervalMs: 10 } } as const;
    let bench = await BufferBench.open(disks, options);
    bench.announce(file);
    file.append(Array.from({ length: 60 }, () => 50));
    bench.read(file);
    await turns(2);
    // The next call is the sync.
    disks.buffer.faults.set(disks.buffer.calls, "EIO");
    while (bench.buffer.securedEvent() < 60) await Bun.sleep(5);
    await bench.journal.store();
    bench.die();
    disks.powerCut();
    bench = await BufferBench.open(disks, options);
    const values = await bench.deliver();
    bench.read(file);
    await turns(5);
    values.push(...await bench.deliver());
    expect(new Set(values).size).toBe(60);
    expect(bench.metrics.sink("s").lost.total()).toBe(0);
    await bench.close();
  }
});
