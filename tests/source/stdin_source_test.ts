import { expect, test } from "bun:test";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { PositionStore } from "../../src/checkpoint/position_store.ts";
import { LANE_HELD_BYTES_MAX } from "../../src/source/stdin_lane.ts";
import { createStdinSource } from "../../src/source/stdin_source.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { FakeOutlet } from "./fake_outlet.ts";
import { MemoryLog, numbered } from "./harness.ts";

/** A stream that gives these pieces, one for each pull. */
function pieces(
  texts: Iterable<string>,
): { stream: () => ReadableStream<Uint8Array>; pulledBytes: () => number } {
  const iterator = texts[Symbol.iterator]();
  let pulled = 0;
  return {
    pulledBytes: () => pulled,
    stream: () =>
      new ReadableStream<Uint8Array>({
        pull(controller) {
          const { value, done } = iterator.next();
          if (done) return controller.close();
          pulled += value.length;
          controller.enqueue(Buffer.from(value));
        },
      }, { highWaterMark: 0 }),
  };
}

function stdin(
  input: () => ReadableStream<Uint8Array>,
  outlets: readonly FakeOutlet[],
  log = new MemoryLog(),
) {
  return createStdinSource({
    config: { type: "stdin", name: "in", maxLineBytes: 262_144, decoding: { codec: "text" } },
    outlets,
    metrics: new SourceMetrics(),
    log,
    pool: new BufferPool(),
    open: () => ({ stream: input(), end: () => false }),
  });
}

test("stdin source offers everything, whatever the pieces, and ends", async () => {
  const text = numbered("line", 5_000) + "last";
  const cut: string[] = [];
  for (let from = 0, size = 1; from < text.length; from += size, size = size * 3 % 1_009 + 1) {
    cut.push(text.slice(from, from + size));
  }
  const outlets = [new FakeOutlet("a", new PositionStore()), new FakeOutlet("b", new PositionStore())];
  await stdin(pieces(cut).stream, outlets).run(new AbortController().signal);
  for (const outlet of outlets) {
    expect(outlet.texts.join("\n")).toBe(text);
    expect(outlet.ended.length).toBe(1);
  }
});

test("stdin source takes a line that is longer than its usual buffer", async () => {
  const long = "x".repeat(262_000);
  const outlet = new FakeOutlet("a", null);
  const parts = [long.slice(0, 100_000), long.slice(100_000, 200_001), long.slice(200_001) + "\nnext\n"];
  await stdin(pieces(parts).stream, [outlet]).run(new AbortController().signal);
  expect(outlet.texts).toEqual([long, "next"]);
});

test("stdin source blocks the pipe while an outlet is full", async () => {
  const line = "y".repeat(999) + "\n";
  const input = pieces(Array.from({ length: 1_000 }, () => line.repeat(10)));
  const full = new FakeOutlet("full", null, 5);
  const free = new FakeOutlet("free", null);
  const stopping = new AbortController();
  const running = stdin(input.stream, [full, free]).run(stopping.signal);
  await full.untilCount(5);
  await Bun.sleep(50);
  const held = input.pulledBytes();
  expect(held).toBeLessThan(LANE_HELD_BYTES_MAX + 100_000);
  await Bun.sleep(20);
  expect(input.pulledBytes()).toBe(held);
  // The other outlet has everything that was read.
  expect(free.lines.length).toBe(held / 1_000);
  full.addRoom(1_000_000);
  await running;
  expect([full.lines.length, free.lines.length]).toEqual([10_000, 10_000]);
  expect(full.offeredBytesMax).toBeLessThan(LANE_HELD_BYTES_MAX * 2 + 100_000);
});

test("stdin source that is stopped while it waits for input gives what was read", async () => {
  const outlet = new FakeOutlet("a", null);
  const stopping = new AbortController();
  const never = () =>
    new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(Buffer.from("one\npart"));
      },
    });
  const running = stdin(never, [outlet]).run(stopping.signal);
  await outlet.untilCount(1);
  stopping.abort();
  await running;
  expect(outlet.texts).toEqual(["one", "part"]);
});

test("stdin source delivers what was read when reading fails", async () => {
  let isFirst = true;
  const failing = () =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        if (isFirst) controller.enqueue(Buffer.from("one\ntwo"));
        else controller.error(Object.assign(new Error("Input/output error"), { code: "EIO" }));
        isFirst = false;
      },
    }, { highWaterMark: 0 });
  const outlet = new FakeOutlet("a", null);
  const log = new MemoryLog();
  await stdin(failing, [outlet], log).run(new AbortController().signal);
  expect(outlet.texts).toEqual(["one", "two"]);
  expect(log.matching("error: Cannot read stdin any further (EIO)").length).toBe(1);
});

test("stdin source of a process: a pipe, an empty file, closed stdin, a folder", async () => {
  const program = new URL("./stdin_program.ts", import.meta.url).pathname;
  const run = async (redirect: string) => {
    const child = Bun.spawn([
      "sh",
      "-c",
      `${redirect.replace("PROGRAM", `"${process.execPath}" "${program}"`)}`,
    ], {
      stdout: "pipe",
      stderr: "ignore",
    });
    return [await new Response(child.stdout).text(), await child.exited];
  };
  expect(await run("printf 'one\\ntwo' | PROGRAM")).toEqual(["one|two", 0]);
  expect(await run("PROGRAM </dev/null")).toEqual(["", 0]);
  expect(await run("PROGRAM <&-")).toEqual(["", 0]);
  expect(await run("PROGRAM </")).toEqual(["stdin-unreadable", 78]);
});
