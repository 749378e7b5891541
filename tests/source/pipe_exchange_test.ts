import { expect, test } from "bun:test";
import fc from "fast-check";
import { PositionStore } from "../../src/checkpoint/position_store.ts";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { createStdinSource } from "../../src/source/stdin_source.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { FakeOutlet } from "./fake_outlet.ts";
import { MemoryLog } from "./harness.ts";

// The reader of a pipe goes on while its sinks change.

/** A pipe that is written to by hand, and its reader. */
function pipe(outlets: readonly FakeOutlet[]) {
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const stream = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) });
  const source = createStdinSource({
    config: { type: "stdin", name: "in", maxLineBytes: 262_144, decoding: { codec: "text" } },
    outlets,
    metrics: new SourceMetrics(),
    log: new MemoryLog(),
    pool: new BufferPool(),
    open: () => ({ stream, end: () => false }),
  });
  const stop = new AbortController();
  const done = source.run(stop.signal);
  return {
    source,
    done,
    async write(text: string) {
      if (text !== "") controller.enqueue(Buffer.from(text));
      await Bun.sleep(0);
    },
    end: () => controller.close(),
  };
}

const outlet = (sink: string, room = Infinity) => new FakeOutlet(sink, new PositionStore(), room);

test("an outlet that takes the place of another gets what was left for it, the incomplete line too", async () => {
  const [one, kept] = [outlet("one", 2), outlet("kept")];
  const { source, write, end, done } = pipe([one, kept]);
  await write("1\n2\n3\n4\nhal");
  expect(one.texts).toEqual(["1", "2"]);
  source.pause(new Set(["one"]));
  await write("f\n5\n");
  // Nothing is read, and nothing given to who is held.
  one.room = 10;
  expect([one.texts, kept.texts]).toEqual([["1", "2"], ["1", "2", "3", "4"]]);
  const next = outlet("one");
  source.exchange([next, kept]);
  await write("6\n");
  end();
  await done;
  expect(next.texts).toEqual(["3", "4", "half", "5", "6"]);
  expect(kept.texts).toEqual(["1", "2", "3", "4", "half", "5", "6"]);
});

test("an outlet that is new gets the lines that begin from now on, one that leaves gets no more", async () => {
  const gone = outlet("gone");
  const { source, write, end, done } = pipe([gone]);
  await write("1\nhal");
  const come = outlet("come");
  source.exchange([gone, come]);
  await write("f\n2\n3");
  source.pause(new Set());
  expect(source.isDrained("gone")).toBe(true);
  source.exchange([come]);
  await write("3\n4");
  end();
  await done;
  expect(gone.texts).toEqual(["1", "half", "2"]);
  expect(come.texts).toEqual(["2", "33", "4"]);
});

test("while a full outlet has complete lines to take, it is not drained", async () => {
  const full = outlet("full", 1);
  const { source, write, end, done } = pipe([full]);
  await write("1\n2\nrest");
  source.pause(new Set());
  expect(source.isDrained("full")).toBe(false);
  full.addRoom(5);
  await Bun.sleep(5);
  expect([full.texts, source.isDrained("full")]).toEqual([["1", "2"], true]);
  source.exchange([full]);
  end();
  await done;
  expect(full.texts).toEqual(["1", "2", "rest"]);
});

test("the end of the pipe, and a stop, while it is paused: nothing is lost", async () => {
  const one = outlet("one", 1);
  const { source, write, end, done } = pipe([one]);
  await write("1\n2\n");
  source.pause(new Set(["one"]));
  await write("3\n");
  end();
  await Bun.sleep(5);
  const next = outlet("one");
  source.exchange([next]);
  await done;
  expect([...one.texts, ...next.texts]).toEqual(["1", "2", "3"]);
  // Nothing is left to be changed.
  source.pause(new Set(["one"]));
  source.exchange([outlet("one"), outlet("late")]);
});

type Step = { readonly write: string } | { readonly change: boolean };

test("whatever is written and exchanged: a sink that is always there gets every line once", async () => {
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.array(fc.constantFrom("a", "bc", "\n", "d\n"), { maxLength: 6 }).map((parts) => ({
      write: parts.join(""),
    })),
    fc.boolean().map((change) => ({ change })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const taken: FakeOutlet[] = [outlet("one")];
      const other: FakeOutlet[] = [];
      const { source, write, end, done } = pipe(taken);
      let text = "";
      for (const each of steps) {
        if ("write" in each) {
          text += each.write;
          await write(each.write);
          continue;
        }
        source.pause(new Set(["one"]));
        taken.push(outlet("one"));
        const hasOther = other.length % 2 === 0;
        other.push(outlet("other"));
        source.exchange(hasOther ? [taken.at(-1)!, other.at(-1)!] : [taken.at(-1)!]);
      }
      end();
      await done;
      const lines = text.split("\n");
      if (lines.at(-1) === "") lines.pop();
      expect(taken.flatMap(({ texts }) => texts)).toEqual(lines);
      // What comes and goes gets whole lines alone, but for the last one of the pipe.
      for (const { texts } of other) for (const line of texts) expect(lines).toContain(line);
    }),
    { numRuns: Number(process.env.SHIPPER_MODEL_RUNS ?? 100) },
  );
});
