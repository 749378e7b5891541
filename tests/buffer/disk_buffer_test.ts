import { describe, expect, test } from "bun:test";
import { ModelFile } from "../journal/model_world.ts";
import { BufferBench, BufferDisks, turns } from "./buffer_bench.ts";

describe("DiskBuffer", () => {
  test("gives what was put in, in order, once, over a stop and a start", async () => {
    const disks = new BufferDisks();
    const file = new ModelFile("f0");
    file.append([10, 20, 30]);
    let bench = await BufferBench.open(disks);
    bench.announce(file);
    expect(bench.read(file)).toBe(file.content.length);
    await turns(20);
    expect(await bench.deliver()).toEqual(file.lines);
    file.append([10, 20]);
    bench.read(file);
    await turns(20);
    expect(bench.differences()).toEqual([]);
    await bench.close();
    disks.powerCut();
    bench = await BufferBench.open(disks);
    expect(bench.read(file)).toBe(0);
    expect(await bench.deliver()).toEqual(file.lines.slice(3));
    expect(bench.differences()).toEqual([]);
    await bench.close();
  });
});
