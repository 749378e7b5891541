// An outlet may take a part of what it is offered and still have room: `drop_newest` takes as many lines as fit and drops the next ones, and
// no call takes more than 65,536 lines. The sources took the rest for an incomplete line: complete lines waited for the next byte of
// stdin, in a file for partial_flush_after, although there was room.
import { expect, test } from "bun:test";
import type { Chunk } from "../../src/event/chunk.ts";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { createStdinSource } from "../../src/source/stdin_source.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { LaneHarness } from "../lane_harness.ts";
import { FakeOutlet } from "../source/fake_outlet.ts";
import { Bench, MemoryLog, numbered, until } from "../source/harness.ts";

/** Takes three lines a call, whatever room there is. */
class SmallBites extends FakeOutlet {
  override offer(chunk: Chunk): number {
    const { room } = this;
    this.room = Math.min(room, 3);
    try {
      return super.offer(chunk);
    } finally {
      this.room = room;
    }
  }
}

function startStdin(outlet: LaneHarness["lane"] | FakeOutlet) {
  const pipe = new TransformStream<Uint8Array, Uint8Array>();
  const stopping = new AbortController();
  const running = createStdinSource({
    config: { type: "stdin", name: "in", maxLineBytes: 262_144, decoding: { codec: "text" } },
    outlets: [outlet],
    metrics: new SourceMetrics(),
    log: new MemoryLog(),
    pool: new BufferPool(),
    open: () => ({ stream: pipe.readable, end: () => false }),
  }).run(stopping.signal);
  const writer = pipe.writable.getWriter();
  return {
    write: (text: string) => writer.write(Buffer.from(text)),
    async end() {
      await writer.close();
      await running;
    },
  };
}

test("stdin that falls silent leaves no complete line in front of an outlet with room", async () => {
  const outlet = new SmallBites("out", null);
  const stdin = startStdin(outlet);
  await stdin.write(numbered("line", 20) + "rest");
  await until(() => outlet.lines.length === 20);
  await stdin.end();
  expect(outlet.texts.at(-1)).toBe("rest");
});

test("drop_newest counts every line of stdin at once", async () => {
  const harness = new LaneHarness({ whenFull: "drop_newest", maxEvents: 5 });
  const stdin = startStdin(harness.lane);
  await stdin.write(numbered("line", 20));
  await until(() => harness.sink.eventsInCount === 20);
  expect(harness.sink.bufferedEvents).toBe(5);
  expect(harness.sink.dropped.total()).toBe(15);
  await stdin.end();
});

test("a file that falls silent leaves no complete line in front of an outlet with room", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 20) + "rest");
  const run = await bench.start({
    config: { partialFlushAfterMs: 3_600_000 },
    makeOutlet: (sink, store) => new SmallBites(sink, store),
  });
  await run.outlet.untilCount(20);
  await Bun.sleep(50);
  expect(run.outlet.lines.length).toBe(20);
});
