import { expect, test } from "bun:test";
import { MemoryBuffer } from "../src/buffer/memory_buffer.ts";
import { PositionStore } from "../src/checkpoint/position_store.ts";
import { Delivery } from "../src/event/delivery.ts";
import { Gaps } from "../src/event/gaps.ts";
import { BufferPool } from "../src/event/pooled_buffer.ts";
import { GAP_MARKER_SOURCE } from "../src/event/stream.ts";
import { GAP_MARKER_INTERVAL_MS, GapMarkers, MARKER_BYTES_MAX } from "../src/gap_markers.ts";
import { Lane } from "../src/lane.ts";
import { createShaper } from "../src/shape/shaper.ts";
import { auditRun } from "../src/telemetry/audit.ts";
import { GarbagePacer } from "../src/telemetry/garbage_pacer.ts";
import { Metrics, SourceMetrics } from "../src/telemetry/metrics.ts";
import { KeptLog } from "./kafka/producer_harness.ts";
import { eventBatch } from "./support/events.ts";
import { waitUntil } from "./support/wait_until.ts";

const stream = { id: "1", source: "app", path: "/var/log/app.log" };
const part = (events: number) => ({ events, bytes: 0, fromOffset: 5, toOffset: 50 });

function setUp(maxEvents = 10) {
  const metrics = new Metrics(0);
  const sinkMetrics = metrics.sink("out");
  const positions = new PositionStore();
  metrics.accounts = () => positions.accounts();
  const buffer = new MemoryBuffer({ maxEvents, maxSizeBytes: 1 << 20, metrics: sinkMetrics });
  const gaps = new Gaps(GAP_MARKER_SOURCE, () => 1_000);
  const log = new KeptLog();
  const recovering = { isOn: false };
  const sourceMetrics = new SourceMetrics();
  const outlet = new Lane({
    source: GAP_MARKER_SOURCE,
    sink: "out",
    maxLineBytes: MARKER_BYTES_MAX,
    whenFull: "block",
    isAlone: true,
    shaper: createShaper({
      decoding: { codec: "text" },
      encoding: { codec: "raw", onlyFields: null, exceptFields: null, timestampFormat: "rfc3339" },
      keyField: null,
      topic: "logs",
      hostname: "h",
      pool: new BufferPool(),
      metrics: sourceMetrics,
    }),
    buffer,
    checkpoint: positions,
    hasIntents: () => false,
    sourceMetrics,
    sinkMetrics,
    garbagePacer: new GarbagePacer({ collect() {} }),
    log,
    now: () => 2_000,
  });
  const markers = new GapMarkers({
    gaps,
    outlet,
    isRecovering: () => recovering.isOn,
    hostname: "h",
    metrics: sinkMetrics,
    log,
    now: () => 2_000,
  });
  const kill = new AbortController();
  const end = () => markers.finish(kill.signal);
  /** Takes one delivery out as a sink does. */
  const read = (): Delivery | null => {
    const delivery = buffer.read();
    if (delivery !== null) sinkMetrics.inFlightEvents += delivery.batch.count;
    return delivery;
  };
  const settle = (delivery: Delivery, status: "delivered" | "errored" = "delivered") => {
    const { count } = delivery.batch;
    delivery.take(count);
    sinkMetrics.inFlightEvents -= count;
    if (status === "delivered") sinkMetrics.deliveredEventsCount += count;
    delivery.settle(count, status);
  };
  return { metrics, sinkMetrics, buffer, gaps, recovering, log, markers, kill, end, read, settle };
}

function valuesOf({ batch: { values, count } }: Delivery): unknown[] {
  return Array.from(
    { length: count },
    (_, i) => JSON.parse(values.data.toString("utf8", values.starts[i], values.ends[i])),
  );
}

test("a gap is told as a record of its own, and the account adds up at every step", async () => {
  const { gaps, end, read, settle, metrics } = setUp();
  gaps.note(stream, "buffer_full", part(7));
  gaps.note({ ...stream, id: "2", path: "", pipe: "stderr" }, "unreadable", {
    events: 0,
    bytes: 9,
    fromOffset: 3,
    toOffset: null,
  });
  const ended = end();
  expect(auditRun(metrics).addsUp).toBe(true);
  const delivery = read()!;
  expect(auditRun(metrics).addsUp).toBe(true);
  expect(delivery.isAlone).toBe(true);
  expect(delivery.batch).toMatchObject({ keys: null, topics: ["logs"] });
  const times = {
    first: "1970-01-01T00:00:01.000Z",
    last: "1970-01-01T00:00:01.000Z",
    host: "h",
    sink: "out",
  };
  expect(valuesOf(delivery)).toEqual([
    {
      shipper_gap: {
        source: "app",
        file: "/var/log/app.log",
        cause: "buffer_full",
        events: 7,
        from_offset: 5,
        to_offset: 50,
        ...times,
      },
    },
    {
      shipper_gap: {
        source: "app",
        stream: "stderr",
        cause: "unreadable",
        bytes: 9,
        from_offset: 3,
        ...times,
      },
    },
  ]);
  settle(delivery);
  await ended;
  const audit = auditRun(metrics);
  expect(audit.addsUp).toBe(true);
  expect(audit.streams).toEqual([
    expect.objectContaining({ source: GAP_MARKER_SOURCE, read: 2, acknowledged: 2 }),
  ]);
});

test("while the buffer is full they wait and are joined; when it has room they are told", async () => {
  const { gaps, markers, buffer, kill, read, settle, end } = setUp(2);
  buffer.write(new Delivery(eventBatch(["a", "b"]), () => {}));
  const running = markers.run(kill.signal);
  gaps.note(stream, "buffer_full", part(1));
  await Bun.sleep(GAP_MARKER_INTERVAL_MS + 100);
  gaps.note(stream, "buffer_full", part(2));
  expect(gaps.size).toBe(1);
  settle(read()!);
  await waitUntil("it is told", () => buffer.eventCount === 1);
  const delivery = read()!;
  expect(valuesOf(delivery)).toEqual([{ shipper_gap: expect.objectContaining({ events: 3 }) }]);
  settle(delivery);
  // A condition that goes on is told again, a moment later.
  gaps.note(stream, "buffer_full", part(4));
  await Bun.sleep(GAP_MARKER_INTERVAL_MS / 2);
  expect(buffer.eventCount).toBe(0);
  await waitUntil("it is told again", () => buffer.eventCount === 1);
  settle(read()!);
  await end();
  await running;
});

test("the end waits for what is on its way, because it may still be dropped, and tells that", async () => {
  const { gaps, buffer, read, settle, end } = setUp();
  buffer.write(new Delivery(eventBatch(["a"]), () => {}));
  const onItsWay = read()!;
  let hasEnded = false;
  const ended = end().then(() => hasEnded = true);
  await Bun.sleep(60);
  expect(hasEnded).toBe(false);
  gaps.note(stream, "record_too_large", part(1));
  settle(onItsWay);
  await waitUntil("it is told", () => buffer.eventCount === 1);
  settle(read()!);
  await ended;
});

test("the end waits for what an earlier run left open, because it may turn out to be lost", async () => {
  const { gaps, buffer, recovering, read, settle, end } = setUp();
  recovering.isOn = true;
  let hasEnded = false;
  const ended = end().then(() => hasEnded = true);
  await Bun.sleep(60);
  expect(hasEnded).toBe(false);
  gaps.noteCount(null, "source_gone", 3);
  recovering.isOn = false;
  await waitUntil("it is told", () => buffer.eventCount === 1);
  settle(read()!);
  await ended;
});

test("what cannot be told before the end is said", async () => {
  const { gaps, buffer, kill, end, log, read, settle, metrics } = setUp();
  gaps.note(stream, "buffer_full", part(1));
  const ended = end();
  const delivery = read()!;
  gaps.note(stream, "buffer_full", part(1));
  settle(delivery, "errored");
  kill.abort();
  buffer.abandon();
  await ended;
  expect(buffer.eventCount).toBe(0);
  expect(log.lines.filter(({ message }) => message.includes("2 gap markers of sink"))).toHaveLength(1);
  expect(auditRun(metrics).addsUp).toBe(true);
});

test("a buffer with little room takes them one after the other, each whole", async () => {
  const { gaps, buffer, kill, read, settle, end, markers } = setUp(2);
  buffer.write(new Delivery(eventBatch(["a"]), () => {}));
  for (let i = 0; i < 7; i++) gaps.note({ ...stream, id: `${i}`, path: `/${i}` }, "buffer_full", part(i + 1));
  const running = markers.run(kill.signal);
  const ended = end();
  const events: unknown[] = [];
  let hasEnded = false;
  void ended.then(() => hasEnded = true);
  await waitUntil("all are told", () => {
    const delivery = read();
    if (delivery !== null) {
      if (delivery.isAlone) {
        events.push(...valuesOf(delivery).map((value) => (value as Value).shipper_gap.events));
      }
      settle(delivery);
    }
    return hasEnded;
  });
  expect(events).toEqual([1, 2, 3, 4, 5, 6, 7]);
  await running;
});

interface Value {
  readonly shipper_gap: { readonly events: number };
}
