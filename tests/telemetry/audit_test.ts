import { expect, test } from "bun:test";
import fc from "fast-check";
import { type StreamAccount, Tally } from "../../src/event/tally.ts";
import { AUDIT_STREAMS_MAX, auditRun } from "../../src/telemetry/audit.ts";
import { AuditWatch } from "../../src/telemetry/audit_watch.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { KeptLog } from "../kafka/producer_harness.ts";
import { waitUntil } from "../support/wait_until.ts";

function account(path: string | null, tally: Tally, sink = "events"): StreamAccount {
  return { source: "app", sink, path, streamId: path, tally };
}

test("streams and sinks that are moved together always add up, whatever happens to events", () => {
  const kinds = ["read", "send", "deliver", "drop", "lose", "recover", "lose recovered"] as const;
  const move = fc.record({ kind: fc.constantFrom(...kinds), stream: fc.nat(2), count: fc.nat(50) });
  fc.assert(fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
    const metrics = new Metrics(0);
    const sink = metrics.sink("events");
    const tallies = [new Tally(), new Tally(), new Tally()];
    metrics.accounts = () => tallies.map((tally, i) => account(`/${i}`, tally));
    for (const { kind, stream, count } of moves) {
      const tally = tallies[stream]!;
      const sent = Math.min(count, tally.bufferedCount);
      const done = Math.min(count, tally.inFlightCount);
      if (kind === "read") {
        tally.readCount += count;
        tally.bufferedCount += count;
        sink.eventsInCount += count;
        sink.bufferedEvents += count;
      } else if (kind === "send") {
        tally.bufferedCount -= sent;
        tally.inFlightCount += sent;
        sink.bufferedEvents -= sent;
        sink.inFlightEvents += sent;
      } else if (kind === "recover") {
        tally.recover(count);
        sink.eventsInCount += count;
        sink.inFlightEvents += count;
      } else if (kind === "lose recovered") sink.loseRecovered("source_gone", count);
      else {
        tally.inFlightCount -= done;
        sink.inFlightEvents -= done;
        if (kind === "deliver") {
          tally.deliveredCount += done;
          sink.deliveredEventsCount += done;
        } else {
          tally.rejectedCount += done;
          if (kind === "drop") {
            tally.drop("invalid_record", done);
            sink.dropped.add("app\u0000invalid_record", done);
          } else {
            tally.lose("undecidable", done);
            sink.lost.add("undecidable", done);
          }
        }
      }
      const audit = auditRun(metrics);
      expect(audit.addsUp).toBe(true);
      expect(audit.sinks[0]).toMatchObject({
        missing: 0,
        unexplained: 0,
        missingInStreams: 0,
        differences: [],
      });
    }
  }));
});

test("any figure that is off by one is found, by the stream's sum or by the sink's own count", () => {
  const figures = [
    "readCount",
    "bufferedCount",
    "inFlightCount",
    "deliveredCount",
    "rejectedCount",
    "leftCount",
  ] as const;
  for (const figure of figures) {
    const metrics = new Metrics(0);
    const tally = new Tally();
    metrics.accounts = () => [account("/a", tally)];
    metrics.sink("events");
    expect(auditRun(metrics).addsUp).toBe(true);
    tally[figure]++;
    expect([figure, auditRun(metrics).addsUp]).toEqual([figure, false]);
  }
  for (
    const figure of ["eventsInCount", "deliveredEventsCount", "bufferedEvents", "inFlightEvents"] as const
  ) {
    const metrics = new Metrics(0);
    metrics.sink("events")[figure]++;
    expect([figure, auditRun(metrics).addsUp]).toEqual([figure, false]);
  }
});

test("two streams whose mistakes cancel out do not add up", () => {
  const metrics = new Metrics(0);
  metrics.sink("events").eventsInCount = 3;
  const [a, b] = [new Tally(), new Tally()];
  a.readCount = 3;
  b.leftCount = 3;
  metrics.accounts = () => [account("/a", a), account("/b", b)];
  expect(auditRun(metrics)).toMatchObject({ addsUp: false, sinks: [{ missing: 0, missingInStreams: 6 }] });
});

test("the account lists streams that do not add up first, then those with the most events, and says how many are left out", () => {
  const metrics = new Metrics(0);
  metrics.sink("events");
  metrics.accounts = function* () {
    for (let i = 0; i < AUDIT_STREAMS_MAX + 10; i++) {
      const tally = new Tally();
      tally.readCount = tally.deliveredCount = i;
      if (i === 5) tally.leftCount = 1;
      yield account(`/${i}`, tally);
    }
  };
  const { streams, unlistedStreams } = auditRun(metrics);
  expect(streams.slice(0, 2).map(({ path }) => path)).toEqual(["/5", `/${AUDIT_STREAMS_MAX + 9}`]);
  // The one that nothing was read of is none of them.
  expect([streams.length, unlistedStreams]).toEqual([AUDIT_STREAMS_MAX, 9]);
});

test("what does not add up is an error with the figures, once until it changes", () => {
  const metrics = new Metrics(0);
  const log = new KeptLog();
  const watch = new AuditWatch(metrics, log);
  const sink = metrics.sink("events");
  const tally = new Tally();
  metrics.accounts = () => [account("/a.log", tally)];
  expect(watch.check()).toBe(true);
  tally.readCount = sink.eventsInCount = 5;
  tally.deliveredCount = sink.deliveredEventsCount = 3;
  expect([watch.check(), watch.check()]).toEqual([false, false]);
  expect(log.texts("error")).toEqual([
    'The account of "/a.log" for sink "events" does not add up: 2 events are missing (read 5; acknowledged 3 + in flight 0 + buffered 0)',
  ]);
  tally.deliveredCount = 6;
  watch.check();
  expect(log.texts("error").slice(1)).toEqual([
    'The account of "/a.log" for sink "events" does not add up: 1 event is too many (read 5; acknowledged 6 + in flight 0 + buffered 0)',
    'The account of sink "events" does not add up: acknowledged 6 by its files, 3 by itself',
  ]);
  tally.deliveredCount = sink.deliveredEventsCount = 5;
  expect(watch.check()).toBe(true);
  // The same again is something new.
  tally.deliveredCount = sink.deliveredEventsCount = 3;
  watch.stop();
  expect(log.texts("error")).toHaveLength(4);
});

test("events that were given up without a reason are told", () => {
  const metrics = new Metrics(0);
  const log = new KeptLog();
  metrics.sink("events");
  const tally = new Tally();
  tally.rejectedCount = 2;
  metrics.accounts = () => [account("", tally), account(null, tally)];
  new AuditWatch(metrics, log).check();
  const figures = "(read 0; acknowledged 0 + in flight 0 + buffered 0)";
  expect(log.texts("error")).toEqual([
    `The account of source "app" for sink "events" does not add up: 2 events were given up without a reason ${figures}`,
    `The account of files of source "app" that are gone for sink "events" does not add up: 2 events were given up without a reason ${figures}`,
  ]);
});

test("the watch checks by itself", async () => {
  const metrics = new Metrics(0);
  const log = new KeptLog();
  const watch = new AuditWatch(metrics, log);
  metrics.sink("events").eventsInCount = 1;
  watch.start(5);
  await waitUntil("it has checked", () => log.texts("error").length > 0);
  expect(log.texts("error")).toHaveLength(1);
  watch.stop();
});
