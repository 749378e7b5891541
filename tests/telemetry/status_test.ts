import { expect, test } from "bun:test";
import fc from "fast-check";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { auditOf, computeStatus, READY_WAIT_MAX_MS, STATUS_FILES_MAX } from "../../src/telemetry/status.ts";

const facts = {
  sources: [{ name: "app", type: "file" }],
  sinks: [{ name: "kafka", type: "kafka", inputs: ["app"] }, {
    name: "out",
    type: "console",
    inputs: ["app"],
  }],
};
const failure = {
  code: "broker-unreachable",
  message: "Cannot reach any broker",
  hint: "check bootstrap_servers",
};

test("status is ready while nothing waits, however long ago the last acknowledgement was", () => {
  const metrics = new Metrics(0);
  metrics.sink("kafka").lastAckMs = 1;
  const status = computeStatus(metrics, 10 * READY_WAIT_MAX_MS, facts);
  expect(status.ready).toBe(true);
  expect(status.sinks.map(({ ready, cause }) => ({ ready, cause }))).toEqual([
    { ready: true, cause: null },
    { ready: true, cause: null },
  ]);
});

test("status is not ready, with the cause, when events wait for 30 s without an acknowledgement", () => {
  for (const where of ["bufferedEvents", "inFlightEvents"] as const) {
    const metrics = new Metrics(0);
    const sink = metrics.sink("kafka");
    sink[where] = 7;
    sink.waitingSinceMs = 1_000;
    sink.lastAckMs = 900;
    sink.lastError = 'Cannot send to topic "logs": NOT_ENOUGH_REPLICAS';
    expect(computeStatus(metrics, 1_000 + READY_WAIT_MAX_MS - 1, facts).ready).toBe(true);
    const status = computeStatus(metrics, 1_000 + READY_WAIT_MAX_MS, facts);
    expect(status.ready).toBe(false);
    expect(status.sinks[0]!.cause).toEqual({
      code: "not-delivering",
      message:
        '7 events wait, and nothing was acknowledged for 30 s: Cannot send to topic "logs": NOT_ENOUGH_REPLICAS',
      hint: null,
    });
    expect(status.sinks[1]!.ready).toBe(true);
  }
});

test("status names a cause also when the sink reports no error", () => {
  const metrics = new Metrics(0);
  Object.assign(metrics.sink("out"), { inFlightEvents: 1, waitingSinceMs: 1 });
  expect(computeStatus(metrics, 60_001, facts).sinks[1]!.cause!.message).toBe(
    "1 events wait, and nothing was acknowledged for 60 s: no error was reported; the sink is slow or does not answer",
  );
});

test("status is not ready after a failed health check, until the check passes or something is acknowledged", () => {
  const metrics = new Metrics(0);
  const sink = metrics.sink("kafka");
  expect(computeStatus(metrics, 1, facts).ready).toBe(true);
  sink.healthFailure = failure;
  expect(computeStatus(metrics, 1, facts).ready).toBe(false);
  expect(computeStatus(metrics, 1, facts).sinks[0]!.cause).toEqual(failure);
  sink.lastAckMs = 1;
  expect(computeStatus(metrics, 1, facts).ready).toBe(true);
  sink.lastAckMs = 0;
  sink.healthFailure = null;
  expect(computeStatus(metrics, 1, facts).ready).toBe(true);
});

test("status shows figures of sources, and the files with the largest lag", () => {
  const metrics = new Metrics(5);
  const source = metrics.source("app");
  source.eventsInCount = 4;
  source.lostBytes.add("deleted", 10);
  source.errors.add("EACCES", 2);
  source.fileLags = () =>
    Array.from({ length: STATUS_FILES_MAX + 3 }, (_, i) => (
      { path: `/${i}`, sink: "kafka", sizeBytes: i, readBytes: 1, deliveredBytes: 0 }
    ));
  const status = computeStatus(metrics, 6, { ...facts, isStopping: true });
  expect(status).toMatchObject({ startedMs: 5, nowMs: 6, state: "stopping" });
  const shown = status.sources[0]!;
  expect(shown).toMatchObject({
    name: "app",
    type: "file",
    eventsIn: 4,
    lostBytes: 10,
    errors: 2,
    unlistedFiles: 3,
  });
  expect(shown.files.length).toBe(STATUS_FILES_MAX);
  expect(shown.files[0]).toEqual({
    path: "/52",
    sink: "kafka",
    sizeBytes: 52,
    readBytes: 1,
    deliveredBytes: 0,
    lagBytes: 52,
  });
});

test("status without facts shows what has metrics", () => {
  const metrics = new Metrics(0);
  metrics.source("app");
  metrics.sink("kafka").eventsInBySource.add("app");
  const status = computeStatus(metrics, 0);
  expect(status.state).toBe("running");
  expect(status.sources.map(({ name }) => name)).toEqual(["app"]);
  expect(status.sinks.map(({ name, inputs }) => ({ name, inputs }))).toEqual([{
    name: "kafka",
    inputs: ["app"],
  }]);
});

test("a sink that needs the journal is not ready while it cannot be written; others are", () => {
  const metrics = new Metrics(0);
  metrics.journal = { writtenBytes: 4_096, commitCount: 2, liveCount: 1, failure: null };
  const exact = { ...facts, sinks: [{ ...facts.sinks[0]!, delivery: "exactly_once" }, facts.sinks[1]!] };
  expect(computeStatus(metrics, 0, exact)).toMatchObject({
    ready: true,
    journal: { liveBatches: 1, writtenBytes: 4_096, commits: 2, failure: null },
  });
  metrics.journal = { ...metrics.journal, failure: "ENOSPC: no space left on device, write" };
  const status = computeStatus(metrics, 0, exact);
  expect(status.sinks.map(({ ready }) => ready)).toEqual([false, true]);
  expect(status.sinks[0]!.cause).toEqual({
    code: "journal-unwritable",
    message:
      "The journal cannot be written (ENOSPC: no space left on device, write): delivery waits, and writing is tried again",
    hint: "look at the disk, its free space and the owner of data_dir",
  });
  expect(computeStatus(metrics, 0, facts).ready).toBe(true);
});

test("partitions in doubt are shown at once, and a sink is not ready when they stay so for 30 s", () => {
  const metrics = new Metrics(0);
  const sink = metrics.sink("kafka");
  sink.doubtStarted(1_000);
  sink.doubtStarted(9_000);
  sink.doubtEnded();
  const before = computeStatus(metrics, 1_000 + READY_WAIT_MAX_MS - 1, facts);
  expect([before.ready, before.sinks[0]!.partitionsInDoubt]).toEqual([true, 1]);
  expect(computeStatus(metrics, 1_000 + READY_WAIT_MAX_MS, facts).sinks[0]!.cause).toEqual({
    code: "in-doubt",
    message: "1 partition waits for 30 s until it is found out what became of a batch",
    hint: null,
  });
  sink.doubtEnded();
  expect(computeStatus(metrics, 10 * READY_WAIT_MAX_MS, facts).ready).toBe(true);
  expect(sink.doubtSinceMs).toBe(0);
});

test("what was lost is in the account, also when an earlier run had taken it", () => {
  const metrics = new Metrics(0);
  const sink = metrics.sink("kafka");
  sink.eventsInCount = 5;
  sink.lost.add("undecidable", 5);
  sink.loseRecovered("source_gone", 3);
  expect(auditOf(sink)).toEqual({
    read: 8,
    delivered: 0,
    dropped: 0,
    deadLettered: 0,
    lost: 8,
    buffered: 0,
    inFlight: 0,
    left: 0,
  });
  expect(computeStatus(metrics, 0, facts).sinks[0]!.lost).toEqual([
    { cause: "undecidable", events: 5 },
    { cause: "source_gone", events: 3 },
  ]);
});

test("status lists drops by source and reason", () => {
  const metrics = new Metrics(0);
  metrics.sink("kafka").dropped.add("app\u0000record_too_large", 3);
  metrics.sink("kafka").retries.add("ECONNRESET", 4);
  expect(computeStatus(metrics, 0, facts).sinks[0]).toMatchObject({
    dropped: [{ source: "app", reason: "record_too_large", events: 3 }],
    retries: 4,
    audit: { dropped: 3 },
  });
});

test("audit accounts for every event whatever happens to it", () => {
  const move = fc.record({
    kind: fc.constantFrom("read", "send", "deliver", "drop", "give up"),
    count: fc.nat(100),
  });
  fc.assert(fc.property(fc.array(move, { maxLength: 100 }), (moves) => {
    const sink = new Metrics(0).sink("kafka");
    let left = 0;
    for (const { kind, count } of moves) {
      const sent = Math.min(count, sink.bufferedEvents);
      const done = Math.min(count, sink.inFlightEvents);
      if (kind === "read") {
        sink.eventsInCount += count;
        sink.bufferedEvents += count;
      } else if (kind === "send") {
        sink.bufferedEvents -= sent;
        sink.inFlightEvents += sent;
      } else {
        sink.inFlightEvents -= done;
        if (kind === "deliver") sink.deliveredEventsCount += done;
        else if (kind === "drop") sink.dropped.add("app\u0000reason", done);
        else left += done;
      }
      const audit = auditOf(sink);
      expect(audit.left).toBe(left);
      expect(audit.delivered + audit.dropped + audit.buffered + audit.inFlight + audit.left).toBe(audit.read);
    }
  }));
});
