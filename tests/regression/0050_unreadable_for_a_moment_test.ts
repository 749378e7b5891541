import { expect, test } from "bun:test";
import { StartError } from "../../src/errors.ts";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";
import { numbered } from "../storage/open_log.ts";

// A start whose read of the newest segment of a disk buffer failed (EIO) set the segment aside at once, and counted its events as lost. A moment later
// the device might have given it.

const LINES = 300;

/** A buffer with everything in it, of which reads of the newest segment's groups fail `failures` times from now on. */
async function filled(failures: number) {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  const bench = await BufferBench.open(disks);
  bench.announce(file);
  for (let i = 0; i < 10; i++) {
    file.append(Array.from({ length: LINES / 10 }, (_, line) => 20 + line % 38));
    bench.read(file);
    await turns(6);
  }
  await bench.close();
  const segments = numbered(disks.buffer);
  const paths = new Map<number, string>();
  const { buffer } = disks;
  const [openRead, read] = [buffer.openRead.bind(buffer), buffer.read.bind(buffer)];
  buffer.openRead = (path) => {
    const fd = openRead(path);
    paths.set(fd, path);
    return fd;
  };
  let leftCount = failures;
  buffer.read = (fd, target, offset, length, position) => {
    if (paths.get(fd)!.endsWith(segments.at(-1)!) && position > 0 && leftCount > 0) {
      leftCount--;
      throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
    }
    return read(fd, target, offset, length, position);
  };
  return { disks, file, segments, heal: () => leftCount = 0 };
}

async function expectAll(bench: BufferBench, file: ModelFile): Promise<void> {
  expect(await bench.deliver()).toEqual(file.lines);
  expect(bench.metrics.sink("s").lost.total()).toBe(0);
  expect(bench.log.texts("error")).toEqual([]);
  expect(bench.differences()).toEqual([]);
}

test("a read that fails a few times is made again, and nothing is lost", async () => {
  const { disks, file, segments } = await filled(4);
  const pauses: number[] = [];
  const bench = await BufferBench.open(disks, { timing: { readPause: (ms) => pauses.push(ms) } });
  expect(pauses).toEqual([100, 200, 400, 800]);
  expect(bench.log.texts("warn")).toEqual([
    `Cannot read the disk buffer of sink "s": "/buffer/${
      segments.at(-1)
    }" (EIO); the start waits, and reading is tried again`,
  ]);
  await expectAll(bench, file);
  await bench.close();
});

test("a start that cannot read it says so, within a bound, and touches nothing", async () => {
  const { disks, file, segments, heal } = await filled(Infinity);
  let pausedMs = 0;
  const opening = BufferBench.open(disks, { timing: { readPause: (ms) => pausedMs += ms } });
  const failure = await opening.then(() => null, (error: unknown) => error as StartError);
  expect(failure).toBeInstanceOf(StartError);
  expect(failure!.code).toBe("buffer-unreadable");
  expect(failure!.message).toBe(
    `Cannot open the disk buffer of sink "s" in "/buffer": EIO ("/buffer/${segments.at(-1)}")`,
  );
  expect(failure!.hint).toContain("nothing counts as lost yet");
  expect(pausedMs).toBe(1_500);
  expect(numbered(disks.buffer)).toEqual(segments);
  heal();
  disks.kill();
  const bench = await BufferBench.open(disks);
  await expectAll(bench, file);
  await bench.close();
});
