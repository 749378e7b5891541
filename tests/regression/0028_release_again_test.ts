// A segment of a full disk buffer that could not be freed at first was never freed: nothing came in any more, and so nothing was freed.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

test("what cannot be freed is tried again by itself", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  const bench = await BufferBench.open(disks);
  bench.announce(file);
  file.append(Array.from({ length: 6_000 }, () => 58));
  while (bench.read(file, 40 * 59) > 0) await turns(3);
  let isRefused = true;
  const { rename, remove } = disks.buffer;
  const unless = <A extends unknown[]>(call: (...args: A) => void) => (...args: A) => {
    if (isRefused) throw Object.assign(new Error("EIO: simulated"), { code: "EIO" });
    call.apply(disks.buffer, args);
  };
  disks.buffer.rename = unless(rename);
  disks.buffer.remove = unless(remove);
  await bench.deliver();
  await turns(20);
  const usedBytes = bench.buffer.pinnedBytes;
  expect(usedBytes).toBeGreaterThan(100_000);
  isRefused = false;
  await Bun.sleep(20);
  await turns(20);
  expect(bench.buffer.pinnedBytes).toBeLessThan(usedBytes / 4);
  expect(bench.buffer.hasRoom()).toBe(true);
  await bench.close();
});
