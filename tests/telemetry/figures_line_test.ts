import { expect, test } from "bun:test";
import { startFiguresLine } from "../../src/telemetry/figures_line.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { KeptLog } from "../kafka/producer_harness.ts";
import { waitUntil } from "../support/wait_until.ts";

test("a line every interval, with the rate since the one before, until it is stopped", async () => {
  const metrics = new SinkMetrics();
  const log = new KeptLog();
  let nowMs = 0;
  metrics.deliveredEventsCount = 100;
  const line = startFiguresLine({ sink: "events", metrics, log, intervalMs: 20, monotonic: () => nowMs });
  metrics.deliveredEventsCount = 350;
  metrics.bufferedEvents = 7;
  metrics.inFlightEvents = 3;
  metrics.dropped.add("app\u0000message_timeout", 2);
  metrics.lost.add("stdin_gone", 1);
  metrics.retries.add("ECONNRESET", 4);
  metrics.lastError = "Cannot connect";
  nowMs = 10_000;
  await waitUntil("a line", () => log.lines.length > 0);
  expect(log.lines[0]).toEqual({
    level: "info",
    message:
      'Sink "events": 350 events delivered (25.0 a second), 7 in the buffer, 3 in flight, 2 dropped, 1 lost',
    fields: {
      sink: "events",
      delivered_events: 350,
      delivered_bytes: 0,
      sent_batches: 0,
      sent_bytes: 0,
      buffered_events: 7,
      in_flight_events: 3,
      dropped_events: 2,
      lost_events: 1,
      retries: 4,
      last_error: "Cannot connect",
    },
  });
  await waitUntil("another line", () => log.lines.length > 1);
  expect(log.lines[1]!.message).toContain("(0.0 a second)");
  line.stop();
  const { length } = log.lines;
  await Bun.sleep(60);
  expect(log.lines).toHaveLength(length);
});

test("0 logs nothing", async () => {
  const log = new KeptLog();
  const line = startFiguresLine({ sink: "events", metrics: new SinkMetrics(), log, intervalMs: 0 });
  await Bun.sleep(30);
  line.stop();
  expect(log.lines).toEqual([]);
});
