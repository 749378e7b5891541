import { expect, test } from "bun:test";
import { lineNumber, numberedLine } from "../../bench/lib/arrivals.ts";
import { readLag } from "../../bench/lag.ts";
import { EventLoopLag } from "../../src/telemetry/event_loop_lag.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { readProcessFigures, renderPrometheus } from "../../src/telemetry/prometheus.ts";

test("the event-loop lag is found in the page that shipper serves", () => {
  const lag = new EventLoopLag({ now: () => 0 });
  for (let i = 0; i < 99; i++) lag.record(2, 0);
  lag.record(50, 0);
  const eventLoopLag = lag.figures()!;
  const page = renderPrometheus(new Metrics(0), {
    version: "0.1.0",
    nowMs: 0,
    process: readProcessFigures(),
    eventLoopLag,
    readyBySink: new Map(),
  });
  const read = readLag(page)!;
  expect(read.p50Ms).toBeCloseTo(eventLoopLag.p50Ms, 6);
  expect(read.p99Ms).toBeCloseTo(eventLoopLag.p99Ms, 6);
  expect(read.maxMs).toBeCloseTo(50, 6);
  expect(readLag("shipper_up 1\n")).toBeNull();
});

test("a numbered line is as long as a line of an access log, and carries its number", () => {
  for (const number of [0, 7, 123_456]) {
    expect(numberedLine(number)).toHaveLength(176);
    expect(lineNumber(numberedLine(number).trimEnd())).toBe(number);
    // rsyslog may put something in front.
    expect(lineNumber(` ${numberedLine(number)}`)).toBe(number);
  }
  expect(lineNumber("something else")).toBeNull();
});
