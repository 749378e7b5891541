import { describe, expect, test } from "bun:test";
import { StartError } from "../../src/errors.ts";
import { ModelFile } from "../journal/model_world.ts";
import { numbered } from "../storage/open_log.ts";
import { randomNumbers } from "../storage/simulated_files.ts";
import { BufferBench, BufferDisks, turns } from "./buffer_bench.ts";

const LINES = 1_200;

/** A buffer of several segments, stopped, with everything in it. */
async function filled(durability: "machine" | "process" = "machine") {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  const bench = await BufferBench.open(disks, { durability });
  bench.announce(file);
  for (let i = 0; i < 15; i++) {
    file.append(Array.from({ length: LINES / 15 }, (_, line) => 20 + (i * 7 + line) % 38));
    bench.read(file);
    await turns(6);
  }
  await bench.close();
  const segments = numbered(disks.buffer);
  expect(segments.length).toBeGreaterThan(1);
  return { disks, file, segments };
}

type Filled = Awaited<ReturnType<typeof filled>>;

/** Opens it, puts something in and reads all: right lines only, in order, and what is missing is counted. Returns how many lines were lost. */
async function checkedLoss(
  { disks, file }: Filled,
  durability: "machine" | "process" = "machine",
): Promise<number> {
  const bench = await BufferBench.open(disks, { durability });
  // What cannot be read is set aside, which makes room.
  await turns(10);
  file.append([33]);
  bench.read(file);
  await turns(6);
  const values = await bench.deliver();
  const lineNumbers = values.map((value) => file.lines.indexOf(value));
  expect(lineNumbers).toEqual([...new Set(lineNumbers)].sort((a, b) => a - b));
  expect(lineNumbers.includes(-1)).toBe(false);
  const lostCount = bench.metrics.sink("s").lost.total();
  expect(values.length + lostCount).toBe(file.lines.length);
  expect(values.at(-1)).toBe(file.lines.at(-1)!);
  if (lostCount > 0) expect(bench.log.texts("error").length).toBeGreaterThan(0);
  expect(bench.metrics.sink("s").bufferedEvents).toBe(0);
  expect(bench.differences()).toEqual([]);
  await bench.close();
  return lostCount;
}

/** Has a segment say that it is of another version of the format. */
function setVersion(content: Buffer, version: number): void {
  content.writeUInt16LE(version, 12);
  content.writeUInt32LE(0, 8);
  content.writeUInt32LE(Bun.hash.crc32(content.subarray(0, 128)), 8);
}

test("A disk buffer of version 1 is read: without headers its frames are the same", async () => {
  const made = await filled();
  for (const name of made.segments) {
    const content = made.disks.buffer.content(name);
    expect(content.readUInt16LE(12)).toBe(2);
    setVersion(content, 1);
  }
  expect(await checkedLoss(made)).toBe(0);
});

describe("A disk buffer that is damaged", () => {
  test("never gives out wrong lines for a bit that is wrong, and counts what is lost", async () => {
    const random = randomNumbers(4);
    for (const durability of ["machine", "process"] as const) {
      const made = await filled(durability);
      const copies = made.segments.map((name) =>
        [name, Buffer.from(made.disks.buffer.content(name))] as const
      );
      const journal = made.disks.journal.list().map((name) =>
        [name, Buffer.from(made.disks.journal.content(name))] as const
      );
      let lossCount = 0;
      for (let i = 0; i < 60; i++) {
        const disks = new BufferDisks(i + 5);
        for (const [name, content] of copies) disks.buffer.put(name, Buffer.from(content));
        for (const [name, content] of journal) disks.journal.put(name, Buffer.from(content));
        const [name] = copies[i % copies.length]!;
        const content = disks.buffer.content(name);
        // Heads of segments and groups, and anything.
        const place = i % 3 === 0 ? Math.floor(random() * 128) : Math.floor(random() * content.length);
        content[place]! ^= 1 << Math.floor(random() * 8);
        const file = new ModelFile("f0");
        file.lines = [...made.file.lines];
        file.content = Buffer.from(made.file.content);
        if (await checkedLoss({ ...made, disks, file }, durability) > 0) lossCount++;
      }
      expect(lossCount).toBeGreaterThan(10);
    }
  }, 120_000);

  test("that was cut at any byte gives out what is left", async () => {
    for (let i = 0; i < 24; i++) {
      const made = await filled();
      const name = made.segments[i % made.segments.length]!;
      const content = made.disks.buffer.content(name);
      const sizeBytes = i < 4 ? [0, 100, 4_096, 4_097][i]! : Math.floor(content.length * i / 24);
      made.disks.buffer.put(name, Buffer.from(content.subarray(0, sizeBytes)));
      await checkedLoss(made);
    }
  }, 120_000);

  const damages: readonly [string, (made: Filled) => void, boolean][] = [
    ["misses its first segment", ({ disks, segments }) => disks.buffer.delete(segments[0]!), true],
    [
      "has a segment of zeros",
      ({ disks, segments }) => disks.buffer.put(segments[0]!, Buffer.alloc(32_768)),
      true,
    ],
    ["has a segment under two names", ({ disks, segments }) => {
      disks.buffer.put("0000000000000009.seg", Buffer.from(disks.buffer.content(segments[0]!)));
    }, false],
    ["has two segments whose names were swapped", ({ disks, segments }) => {
      const [first, second] = segments.slice(0, 2).map((name) => Buffer.from(disks.buffer.content(name)));
      disks.buffer.put(segments[0]!, second!);
      disks.buffer.put(segments[1]!, first!);
    }, true],
    ["has other files in its folder", ({ disks }) => {
      for (const name of ["README", "1.seg", "0000000000000002.seg.bak"]) {
        disks.buffer.put(name, Buffer.from("x"));
      }
    }, false],
    ["has a segment of a journal", ({ disks }) => {
      disks.buffer.put(
        "0000000000000008.seg",
        Buffer.from(disks.journal.content(numbered(disks.journal).at(-1)!)),
      );
    }, false],
  ];
  for (const [what, damage, isLoss] of damages) {
    test(`that ${what} is open all the same`, async () => {
      const made = await filled();
      damage(made);
      expect(await checkedLoss(made) > 0).toBe(isLoss);
    });
  }

  test("of a newer version is not opened", async () => {
    const { disks, segments } = await filled();
    setVersion(disks.buffer.content(segments.at(-1)!), 3);
    const failure = await BufferBench.open(disks).then(() => null, (error: unknown) => error);
    expect(failure).toBeInstanceOf(StartError);
    expect((failure as StartError).code).toBe("buffer-newer");
    expect((failure as StartError).message).toContain(segments.at(-1)!);
  });
});
