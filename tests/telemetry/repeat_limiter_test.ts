import { expect, test } from "bun:test";
import fc from "fast-check";
import { REPEAT_WINDOW_MS, RepeatLimiter, REPEATS_MAX } from "../../src/telemetry/repeat_limiter.ts";

test("repeat limiter accounts for every item: admitted or handed out as held back", () => {
  const step = fc.record({ text: fc.nat(400), advanceMs: fc.integer({ min: -20_000, max: 12_000 }) });
  fc.assert(fc.property(fc.array(step, { maxLength: 1_500 }), (steps) => {
    const limiter = new RepeatLimiter<number>();
    let nowMs = 1_000_000;
    let admitted = 0;
    let handedOut = 0;
    steps.forEach(({ text, advanceMs }, i) => {
      nowMs += i % 7 === 0 ? advanceMs : 0;
      for (const { heldBackCount } of limiter.takeEnded(nowMs)) handedOut += heldBackCount;
      if (limiter.admit(`text ${"x".repeat(text)}`, i, nowMs)) admitted++;
    });
    for (const { heldBackCount } of limiter.takeEnded(Infinity)) handedOut += heldBackCount;
    expect(admitted + handedOut).toBe(steps.length);
    expect(limiter.hasHeldBack).toBe(false);
  }));
});

test("repeat limiter admits at most its number of one text in a window, however often it comes", () => {
  const limiter = new RepeatLimiter<string>();
  let admitted = 0;
  for (let i = 0; i < 1_000; i++) {
    limiter.takeEnded(i);
    if (limiter.admit(`port ${i}`, "x", i)) admitted++;
  }
  expect(admitted).toBe(REPEATS_MAX);
  expect(limiter.takeEnded(REPEAT_WINDOW_MS - 1)).toEqual([]);
  expect(limiter.takeEnded(REPEAT_WINDOW_MS)).toEqual([{ last: "x", heldBackCount: 995 }]);
});
