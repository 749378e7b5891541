import { expect, test } from "bun:test";
import { EventLoopLag } from "../../src/telemetry/event_loop_lag.ts";

function startedAt(ms: number): EventLoopLag {
  const lag = new EventLoopLag({ now: () => ms });
  lag.start();
  lag.stop();
  return lag;
}

test("event loop lag has no figures before the first sample", () => {
  expect(startedAt(0).figures()).toBe(null);
});

test("event loop lag gives percentiles at most a quarter too high, and the exact maximum", () => {
  const lag = startedAt(0);
  for (let i = 1; i <= 1_000; i++) lag.record(i / 10, 1_000);
  const { p50Ms, p99Ms, maxMs, samplesCount } = lag.figures()!;
  expect(samplesCount).toBe(1_000);
  expect(maxMs).toBe(100);
  expect(p50Ms).toBeGreaterThanOrEqual(50);
  expect(p50Ms).toBeLessThanOrEqual(50 * 1.25);
  expect(p99Ms).toBeGreaterThanOrEqual(99);
  expect(p99Ms).toBeLessThanOrEqual(100);
});

test("event loop lag takes delays below and above all its steps", () => {
  const lag = startedAt(0);
  lag.record(0, 1);
  lag.record(10_000_000, 2);
  expect(lag.figures()).toMatchObject({ p50Ms: 0.1, maxMs: 10_000_000 });
});

test("event loop lag forgets what is older than a minute", () => {
  const lag = startedAt(0);
  lag.record(500, 1_000);
  for (let ms = 5_000; ms < 60_000; ms += 5_000) lag.record(1, ms);
  expect(lag.figures()!.maxMs).toBe(500);
  lag.record(1, 60_000);
  expect(lag.figures()!.maxMs).toBe(1);
  expect(lag.figures()!.samplesCount).toBe(11);
});

test("event loop lag starts anew after a stop of hours", () => {
  const lag = startedAt(0);
  for (let ms = 0; ms < 60_000; ms += 1_000) lag.record(500, ms);
  lag.record(2, 36_000_000);
  expect(lag.figures()).toMatchObject({ samplesCount: 1, maxMs: 2 });
});

test("event loop lag sees that the main thread was held", async () => {
  const lag = new EventLoopLag({ intervalMs: 5 });
  lag.start();
  lag.start();
  await Bun.sleep(20);
  Bun.sleepSync(60);
  await Bun.sleep(20);
  lag.stop();
  expect(lag.figures()!.maxMs).toBeGreaterThan(50);
  const { samplesCount } = lag.figures()!;
  await Bun.sleep(20);
  expect(lag.figures()!.samplesCount).toBe(samplesCount);
});

test("samples often while there is work, and rarely again afterwards", async () => {
  let events = 0;
  const lag = new EventLoopLag({ intervalMs: 100, progress: () => events });
  lag.start();
  const samples = () => lag.figures()?.samplesCount ?? 0;
  const work = setInterval(() => events++, 5);
  await Bun.sleep(1_000);
  clearInterval(work);
  const whileBusy = samples();
  lag.stop();
  expect(whileBusy).toBeGreaterThan(15);
});
