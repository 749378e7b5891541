// SIGTERM threw away what was read from stdin and waited for room in a sink's buffer, about 300 kB, and the exit code was 0. It is offered
// until it is taken now. (What Bun had read ahead was lost as well: tests/integration/stdin_test.ts counts every byte of a real pipe.)
import { expect, test } from "bun:test";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { createStdinSource } from "../../src/source/stdin_source.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { FakeOutlet } from "../source/fake_outlet.ts";
import { MemoryLog } from "../source/harness.ts";

const LINE = "z".repeat(999) + "\n";

test("stdin that is stopped while an outlet is full gives what was read, and reads no more", async () => {
  let pulledBytes = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulledBytes += 10 * LINE.length;
      controller.enqueue(Buffer.from(LINE.repeat(10)));
    },
  }, { highWaterMark: 0 });
  const outlet = new FakeOutlet("full", null, 5);
  const stopping = new AbortController();
  const running = createStdinSource({
    config: { type: "stdin", name: "in", maxLineBytes: 262_144, decoding: { codec: "text" } },
    outlets: [outlet],
    metrics: new SourceMetrics(),
    log: new MemoryLog(),
    pool: new BufferPool(),
    open: () => ({ stream, end: () => false }),
  }).run(stopping.signal);
  await outlet.untilCount(5);
  await Bun.sleep(50);
  const readBytes = pulledBytes;
  stopping.abort();
  await Bun.sleep(20);
  outlet.addRoom(1_000_000);
  await running;
  expect(pulledBytes).toBe(readBytes);
  expect(outlet.lines.length).toBe(readBytes / LINE.length);
});
