import { expect, test } from "bun:test";
import fc from "fast-check";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { createFileSource } from "../../src/source/file_source.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { LaneHarness } from "../lane_harness.ts";
import { Bench, MemoryLog } from "./harness.ts";

const LINE_BYTES_MAX = 300;

interface Run {
  readonly lines: readonly number[];
  /** Of 8 events, so many are delivered before the kill. */
  readonly coverage: number;
  readonly maxEvents: number;
  readonly seed: number;
}

const run: fc.Arbitrary<Run> = fc.record({
  // Lengths; those beyond the limit are cut.
  lines: fc.array(fc.oneof(fc.nat(80), fc.nat(80), fc.nat(2_000), fc.constant(9_000)), { maxLength: 60 }),
  coverage: fc.nat(8),
  maxEvents: fc.integer({ min: 1, max: 40 }),
  seed: fc.nat(),
});

/** A source and a real lane; a sink that delivers some events, in any order, and dies. */
class LaneModel {
  readonly #bench: Bench;
  readonly #expected: string[] = [];
  readonly #delivered: string[] = [];
  #random = 1;

  constructor(bench: Bench) {
    this.#bench = bench;
    bench.write("a.log", "");
  }

  async apply({ lines, coverage, maxEvents, seed }: Run): Promise<void> {
    this.#random = seed | 1;
    for (const length of lines) {
      const line = `${this.#expected.length} `.padEnd(length, "abcdefg");
      this.#expected.push(line.slice(0, LINE_BYTES_MAX));
      this.#bench.append("a.log", `${line}\n`);
    }
    await this.#ship(coverage, maxEvents);
  }

  async check(): Promise<void> {
    await this.#ship(8, 1_000);
    expect(this.#delivered.length).toBe(this.#expected.length);
    expect(this.#delivered.toSorted()).toEqual(this.#expected.toSorted());
  }

  async #ship(coverage: number, maxEvents: number): Promise<void> {
    const store = this.#bench.stored.open();
    const { lane, buffer } = new LaneHarness({
      checkpoint: store,
      maxEvents,
      maxLineBytes: LINE_BYTES_MAX,
      maxSizeBytes: 1 << 24,
    });
    const metrics = new SourceMetrics();
    const source = createFileSource({
      config: { ...this.#bench.config(), maxLineBytes: LINE_BYTES_MAX },
      outlets: [lane],
      checkpoint: store,
      metrics,
      log: new MemoryLog(),
      once: true,
      dataDir: this.#bench.dataDir,
      pool: new BufferPool(),
    });
    const reading = source.run(new AbortController().signal).finally(() => buffer.end());
    while (await buffer.waitForData()) {
      const delivery = buffer.read()!;
      const { values, count } = delivery.batch;
      const chosen: number[] = [];
      for (let event = 0; event < count; event++) {
        if (this.#next(8) >= coverage) continue;
        chosen.push(event);
        this.#delivered.push(values.data.toString("utf8", values.starts[event], values.ends[event]));
      }
      delivery.take(count);
      for (const event of chosen) delivery.cover(event, 1);
      delivery.settle(chosen.length, "delivered");
      store.ledger(delivery.region!.stream, "events", 0).changed();
    }
    await reading;
    expect(metrics.truncationsCount).toBe(0);
    await store.flush();
    store.close();
  }

  #next(limit: number): number {
    this.#random = (Math.imul(this.#random, 1_103_515_245) + 12_345) >>> 0;
    return (this.#random >>> 8) % limit;
  }
}

test(
  "a source and a lane deliver every line once over restarts, whatever was delivered before each",
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(run, { minLength: 1, maxLength: 6 }), async (runs) => {
        await using bench = new Bench();
        const model = new LaneModel(bench);
        for (const step of runs) await model.apply(step);
        await model.check();
      }),
      { numRuns: 60, interruptAfterTimeLimit: 15_000 },
    );
  },
  120_000,
);
