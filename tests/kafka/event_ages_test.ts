import { expect, test } from "bun:test";
import { EventAges } from "../../src/kafka/event_ages.ts";

/** Two clocks that a test moves. */
function clocks() {
  const clock = { wallMs: 1_000_000, monotonicMs: 50 };
  const ages = new EventAges(() => clock.wallMs, () => clock.monotonicMs);
  const pass = (ms: number, jumpMs = 0) => {
    clock.wallMs += ms + jumpMs;
    clock.monotonicMs += ms;
    ages.look();
  };
  return { clock, ages, pass };
}

test("events grow old with time", () => {
  const { clock, ages, pass } = clocks();
  const readMs = clock.wallMs;
  pass(300);
  pass(400);
  expect(ages.ageMs(readMs)).toBe(700);
});

test("a clock that is set ahead makes nothing older, and what is read afterwards counts from its time", () => {
  const { clock, ages, pass } = clocks();
  const before = clock.wallMs;
  pass(500, 3_600_000);
  const after = clock.wallMs;
  pass(200);
  expect(ages.ageMs(before)).toBe(700);
  expect(ages.ageMs(after)).toBe(200);
  pass(100, 60_000);
  expect(ages.ageMs(before)).toBe(800);
  expect(ages.ageMs(after)).toBe(300);
});

test("a clock that is set back makes events seem younger, never older", () => {
  const { clock, ages, pass } = clocks();
  const before = clock.wallMs;
  pass(500, -3_600_000);
  expect(ages.ageMs(before)).toBe(500 - 3_600_000);
  const after = clock.wallMs;
  pass(200);
  expect(ages.ageMs(after)).toBe(200);
});

test("clocks that drift apart slowly are left alone", () => {
  const { clock, ages, pass } = clocks();
  const before = clock.wallMs;
  for (let i = 0; i < 10; i++) pass(100, 5);
  expect(ages.ageMs(before)).toBe(1_050);
});
