import { expect, test } from "bun:test";
import fc from "fast-check";
import fs from "node:fs";
import { settleLines, type TakenLine } from "./fake_outlet.ts";
import { Bench, numbered, type Running, until } from "./harness.ts";

/** What one run does: the file grows meanwhile, and some of the lines that were taken are covered before it is killed. */
interface Run {
  readonly appends: readonly { readonly lines: number; readonly width: number; readonly partial: boolean }[];
  /** Lines that fit at once; few make small regions. */
  readonly room: number;
  /** Of 8 lines, so many are covered, 8 at most. */
  readonly coverage: number;
  /** Whole regions that are left out, of 4. */
  readonly gaps: number;
  readonly once: boolean;
  readonly seed: number;
}

const run: fc.Arbitrary<Run> = fc.record({
  appends: fc.array(
    fc.record({
      lines: fc.nat(60),
      width: fc.oneof({ weight: 6, arbitrary: fc.nat(80) }, { weight: 1, arbitrary: fc.nat(20_000) }),
      partial: fc.boolean(),
    }),
    { minLength: 1, maxLength: 5 },
  ),
  room: fc.integer({ min: 1, max: 60 }),
  coverage: fc.nat(8),
  gaps: fc.nat(3),
  once: fc.boolean(),
  seed: fc.nat(),
});

/** A file, and what of it was delivered over all runs: byte ranges, each of which has to come once. */
class HolesModel {
  readonly #bench: Bench;
  readonly #delivered: TakenLine[] = [];
  #lineCount = 0;
  #random = 1;

  constructor(bench: Bench) {
    this.#bench = bench;
    bench.write("a.log", "");
  }

  async apply({ appends, room, coverage, gaps, once, seed }: Run): Promise<void> {
    this.#random = seed | 1;
    if (once) { for (const append of appends) this.#append(append); }
    const running = await this.#start(once, room, (lines) => {
      const isGap = this.#next(4) < gaps;
      return lines.filter(() => !isGap && this.#next(8) < coverage);
    });
    if (once) await this.#drain(running, running.ended);
    else {
      for (const append of appends) {
        this.#append(append);
        running.outlet.addRoom(room);
        await Bun.sleep(this.#next(15));
      }
    }
    // What is taken from here on is not stored any more.
    running.outlet.onRegion = () => {};
    await running.store.flush();
    await running.kill();
  }

  /** A last run covers everything: all bytes have come once. */
  async check(): Promise<void> {
    this.#append({ lines: 1, width: 3, partial: false });
    const running = await this.#start(true, 1_000_000, (lines) => lines);
    await running.ended;
    const [record] = running.store.records("app");
    const content = fs.readFileSync(this.#bench.path("a.log"));
    expect(running.store.position("app", record!.id, "out")).toBe(content.length);
    await running.stop();
    this.#delivered.sort((a, b) => a.offset - b.offset || a.endOffset - b.endOffset);
    let end = 0;
    for (const line of this.#delivered) {
      if (line.offset !== end) throw new Error(`Bytes ${end} to ${line.offset} are missing or came twice`);
      const bytes = content.toString("utf8", line.offset, line.endOffset);
      expect(bytes.replace(/\n$/, "")).toBe(line.text);
      end = line.endOffset;
    }
    expect(end).toBe(content.length);
    expect(running.metrics.lostBytes.total()).toBe(0);
    expect(running.metrics.truncationsCount).toBe(0);
  }

  async #start(
    once: boolean,
    room: number,
    choose: (lines: readonly number[]) => readonly number[],
  ): Promise<Running> {
    const running = await this.#bench.start({
      once,
      rooms: [0],
      config: { partialFlushAfterMs: 5, maxLineBytes: 30_000, globMinimumCooldownMs: 50 },
    });
    const { outlet } = running;
    outlet.onRegion = (region, lines) => {
      const taken = outlet.lines.slice(outlet.lines.length - lines.length);
      const chosen = new Set(choose(lines));
      this.#delivered.push(...taken.filter((_, index) => chosen.has(lines[index]!)));
      settleLines(region, [...chosen]);
    };
    outlet.addRoom(room);
    return running;
  }

  async #drain(running: Running, ended: Promise<void>): Promise<void> {
    let hasEnded = false;
    void ended.then(() => hasEnded = true);
    await until(() => {
      running.outlet.addRoom(1 + this.#next(20));
      return hasEnded;
    });
  }

  #append({ lines, width, partial }: Run["appends"][number]): void {
    let text = "";
    for (let i = 0; i < lines; i++) {
      text += `${this.#lineCount++} ${"abcdefghijklmnop".repeat(width / 16)}\n`;
    }
    if (partial) text += `part ${this.#lineCount++} `;
    this.#bench.append("a.log", text);
  }

  #next(limit: number): number {
    this.#random = (Math.imul(this.#random, 1_103_515_245) + 12_345) >>> 0;
    return (this.#random >>> 8) % limit;
  }
}

test(
  "over any number of restarts every byte is delivered once, whatever an earlier run has left",
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(run, { minLength: 1, maxLength: 6 }), async (runs) => {
        await using bench = new Bench();
        const model = new HolesModel(bench);
        for (const step of runs) await model.apply(step);
        await model.check();
      }),
      { numRuns: 60, interruptAfterTimeLimit: 20_000 },
    );
  },
  120_000,
);

test("a hole whose last line lacks its newline is read as it was cut before", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\ntwo");
  const first = await bench.start({ config: { partialFlushAfterMs: 20 } });
  // "two" was given as a line by then; only what was written behind it is covered.
  first.outlet.onRegion = (region, lines) => region.startOffset >= 7 ? settleLines(region, lines) : undefined;
  await first.outlet.untilCount(2);
  bench.append("a.log", " and a half\nthree\n");
  await first.outlet.untilCount(4);
  await first.store.flush();
  await first.kill();
  const again = await bench.start();
  await again.outlet.untilCount(2);
  bench.append("a.log", "four\n");
  await again.outlet.untilCount(3);
  expect(first.outlet.texts).toEqual(["one", "two", " and a half", "three"]);
  expect(again.outlet.texts).toEqual(["one", "two", "four"]);
});

test("a region that is longer than a read is read whole", async () => {
  await using bench = new Bench();
  const config = { maxLineBytes: 3_000_000 };
  const long = "x".repeat(2_000_000);
  bench.write("a.log", `short\n${long}\nend\n`);
  const first = await bench.start({ config });
  const left: string[] = [];
  let longest = 0;
  first.outlet.onRegion = (region, lines) => {
    longest = Math.max(longest, region.endOffset - region.startOffset);
    settleLines(region, lines.slice(0, 1));
    left.push(...first.outlet.texts.slice(first.outlet.texts.length - lines.length + 1));
  };
  await first.outlet.untilCount(3);
  expect(longest).toBeGreaterThan(2_000_000);
  expect(left).toEqual(["end"]);
  await first.store.flush();
  await first.kill();
  const again = await bench.start({ config });
  await again.outlet.untilCount(1);
  expect(again.outlet.texts).toEqual(left);
});

test("holes of a file that was rotated while shipper was stopped are read before the next file", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 30));
  const first = await bench.start({ rooms: [10] });
  let regionCount = 0;
  first.outlet.onRegion = (region, lines) => {
    if (regionCount++ > 0) settleLines(region, lines);
  };
  await first.outlet.untilCount(10);
  first.outlet.addRoom(10);
  await first.outlet.untilCount(20);
  await first.store.flush();
  await first.kill();
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", numbered("line", 5, 30));
  const again = await bench.start();
  await again.outlet.untilCount(25);
  expect(again.outlet.texts.join("\n") + "\n").toBe(numbered("line", 10) + numbered("line", 15, 20));
});
