import { expect, test } from "bun:test";
import { parseRfc3339 } from "../../src/shape/timestamp.ts";
import { RECEIVED_MS } from "../decode/chunks.ts";
import { shapeText } from "../shape/shape_text.ts";

// 30 February was 2 March, and 24:00 the next day, so that events had topics and record times of days that their lines do not name. A leap second, and a
// fraction of more than nine digits, were no RFC 3339 at all: their events got the time of reading.
test("the time of an event is what RFC 3339 says, or that of reading", () => {
  const cases: [timestamp: string, timeMs: number | null][] = [
    ["2026-02-30T00:00:00Z", null],
    ["2026-02-29T00:00:00Z", null],
    ["1900-02-29T00:00:00Z", null],
    ["2026-04-31T10:00:00+02:00", null],
    ["2026-01-31T24:00:00Z", null],
    ["2026-01-31T12:00:60Z", null],
    ["2026-01-31T23:59:61Z", null],
    ["2024-02-29T00:00:00Z", Date.UTC(2024, 1, 29)],
    ["2000-02-29T00:00:00Z", Date.UTC(2000, 1, 29)],
    ["2016-12-31T23:59:60Z", Date.UTC(2017, 0)],
    ["2016-12-31T15:59:60.25-08:00", Date.UTC(2017, 0) + 250],
    [`2026-01-31T09:05:07.${"9".repeat(20)}Z`, Date.UTC(2026, 0, 31, 9, 5, 7, 999)],
  ];
  for (const [timestamp, timeMs] of cases) {
    expect([timestamp, parseRfc3339(timestamp)]).toEqual([timestamp, timeMs]);
  }
  const { topics, timestamps } = shapeText(
    { decode: "json", topic: "logs-%Y-%m-%d", timestampSource: "event" },
    cases.map(([timestamp]) => `{"timestamp":"${timestamp}"}\n`).join(""),
  );
  expect(timestamps).toEqual(cases.map(([, timeMs]) => timeMs ?? RECEIVED_MS));
  expect(topics).toEqual(timestamps!.map((timeMs) => `logs-${new Date(timeMs).toISOString().slice(0, 10)}`));
});
