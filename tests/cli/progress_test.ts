import { expect, test } from "bun:test";
import { progressLine, startProgress } from "../../src/cli/progress.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";

const MIB = 1_048_576;

test("progress line shows bar, bytes, events, rate and the time left", () => {
  expect(progressLine({
    deliveredBytes: 375 * MIB,
    totalBytes: 1_000 * MIB,
    deliveredEvents: 6_543_210,
    bytesPerSecond: 62.5 * MIB,
  })).toBe("[=======>            ]  37 %  375.0 MiB of 1000.0 MiB  6,543,210 events  62.5 MiB/s  0:10 left");
});

test("progress line says 100 % only at the end, and never more", () => {
  const line = (deliveredBytes: number) =>
    progressLine({ deliveredBytes, totalBytes: 100_000, deliveredEvents: 1, bytesPerSecond: 1 });
  expect(line(99_999)).toStartWith("[===================>]  99 %");
  expect(line(100_000)).toStartWith("[====================] 100 %");
  expect(line(200_000)).toStartWith("[====================] 100 %");
});

test("progress line has neither bar nor time left while they are not known", () => {
  expect(progressLine({ deliveredBytes: 2_048, totalBytes: 0, deliveredEvents: 3, bytesPerSecond: 0 })).toBe(
    "2.0 KiB  3 events  0 B/s",
  );
  expect(progressLine({ deliveredBytes: 0, totalBytes: 2_048, deliveredEvents: 0, bytesPerSecond: 0 })).not
    .toContain("left");
});

test("progress shows the state of all files, cut to the terminal's width, and removes its line at the end", () => {
  const metrics = new Metrics(0);
  metrics.source("app").fileLags = () => [
    { path: "/a", sink: "k", sizeBytes: 1_000, readBytes: 1_000, deliveredBytes: 500 },
    { path: "/b", sink: "k", sizeBytes: 1_000, readBytes: 0, deliveredBytes: 0 },
  ];
  metrics.sink("k").deliveredEventsCount = 5;
  const lines: (string | null)[] = [];
  const progress = startProgress({
    isWanted: true,
    metrics,
    setLine: (text) => void lines.push(text),
    columns: () => 40,
    now: () => 1_000,
  });
  progress.stop();
  expect(lines).toEqual(["[=====>              ]  25 %  500 B of ", null]);
});

test("progress counts what sinks delivered when no source has files", () => {
  const metrics = new Metrics(0);
  metrics.source("stdin");
  metrics.sink("k").deliveredBytesCount = 3_072;
  const lines: (string | null)[] = [];
  startProgress({ isWanted: true, metrics, setLine: (text) => void lines.push(text), now: () => 0 }).stop();
  expect(lines).toEqual(["3.0 KiB  0 events  0 B/s", null]);
});

test("progress goes on by itself, at most ten times a second, and shows the rate", async () => {
  const metrics = new Metrics(0);
  const sink = metrics.sink("k");
  const lines: (string | null)[] = [];
  const clock = { ms: 0 };
  const progress = startProgress({
    isWanted: true,
    metrics,
    setLine: (text) => void lines.push(text),
    now: () => clock.ms,
  });
  sink.deliveredBytesCount = 4_096;
  clock.ms = 2_000;
  const startMs = performance.now();
  while (lines.length < 2) await Bun.sleep(5);
  expect(performance.now() - startMs).toBeGreaterThan(90);
  expect(lines[1]).toBe("4.0 KiB  0 events  2.0 KiB/s");
  progress.stop();
  const { length } = lines;
  await Bun.sleep(250);
  expect(lines.length).toBe(length);
});

test("progress shows nothing when it is not wanted", () => {
  const lines: (string | null)[] = [];
  startProgress({ isWanted: false, metrics: new Metrics(0), setLine: (text) => void lines.push(text) })
    .stop();
  expect(lines).toEqual([]);
});
