import { expect, test } from "bun:test";
import type { DeadLetter, DeadLetters } from "../src/event/dead_letters.ts";
import { LANE_LETTERS_BYTES_MAX } from "../src/lane_letters.ts";
import { auditOf } from "../src/telemetry/status.ts";
import { LaneHarness } from "./lane_harness.ts";

/** Letters that become safe when a test says so. */
class HeldLetters implements DeadLetters {
  readonly letters: DeadLetter[] = [];
  readonly #safe: (() => void)[] = [];

  put(letter: DeadLetter, onSafe: () => void): void {
    this.letters.push(letter);
    this.#safe.push(onSafe);
  }

  /** The first `count` become safe. */
  release(count: number): void {
    for (const onSafe of this.#safe.splice(0, count)) onSafe();
  }
}

function start(maxLineBytes = 1_000) {
  const deadLetters = new HeldLetters();
  const decoding = { codec: "json" as const };
  const harness = new LaneHarness({ topic: "t-{{kind}}", decoding, deadLetters, maxLineBytes }, 100);
  return { deadLetters, harness };
}

const never = new AbortController().signal;

test("lines without a topic are in flight until their letters are safe, and stop the position till then", async () => {
  const { deadLetters, harness } = start();
  harness.offer('{"kind":"a","message":"1"}\n{"message":"2"}\n{"kind":"b/","message":"3"}\n{"kind":"b"}\n');
  expect(
    deadLetters.letters.map(({ reason, offset, topic, value }) => [reason, offset, topic, String(value)]),
  ).toEqual([
    ["template_error", 127, null, '{"message":"2"}'],
    ["topic_invalid", 143, null, '{"kind":"b/","message":"3"}'],
  ]);
  expect(deadLetters.letters[0]).toMatchObject({
    error:
      'No topic of sink "events" can be named: a field of the template is missing, or holds no text, number or boolean',
    stream: { source: "app", path: "/var/log/app.log" },
    sink: "events",
    timeMs: 5_000,
  });
  harness.read();
  harness.settle("delivered");
  expect(auditOf(harness.sink)).toMatchObject({
    read: 4,
    delivered: 2,
    dropped: 0,
    deadLettered: 0,
    inFlight: 2,
    left: 0,
  });
  const before = harness.position;
  deadLetters.release(1);
  expect(harness.position).toBeLessThan(harness.offset);
  deadLetters.release(1);
  expect(before).toBeLessThan(harness.offset);
  expect(harness.position).toBe(harness.offset);
  expect([...harness.sink.deadLettered.values]).toEqual([
    ["app\u0000template_error", 1],
    ["app\u0000topic_invalid", 1],
  ]);
  const account = auditOf(harness.sink);
  expect(account).toMatchObject({ read: 4, delivered: 2, dropped: 0, deadLettered: 2, inFlight: 0, left: 0 });
  await harness.letters!.finish(never);
  expect(harness.sink.undelivered.total()).toBe(0);
});

test("the lane takes no more while many letters are not safe", async () => {
  const { deadLetters, harness } = start(LANE_LETTERS_BYTES_MAX);
  const line = `${JSON.stringify({ message: "x".repeat(900_000) })}\n`;
  let count = 0;
  while (harness.lane.hasRoom() && count < 10) {
    expect(harness.offer(line)).toBe("");
    count++;
  }
  expect(count).toBe(5);
  expect(harness.offer(line)).toBe(line);
  let hasWaited = false;
  const waiting = harness.lane.waitForRoom(never).then(() => hasWaited = true);
  await Bun.sleep(5);
  expect(hasWaited).toBe(false);
  deadLetters.release(1);
  await waiting;
  expect(harness.lane.hasRoom()).toBe(true);
  expect(harness.offer(line)).toBe("");
});

test("what is not safe at the end of a run stays with its source, whatever becomes of the letter then", async () => {
  const { deadLetters, harness } = start();
  harness.offer('{"message":"1"}\n{"message":"2"}\n');
  deadLetters.release(1);
  const kill = new AbortController();
  const finished = harness.letters!.finish(kill.signal);
  kill.abort();
  await finished;
  deadLetters.release(1);
  expect(auditOf(harness.sink)).toMatchObject({ read: 2, deadLettered: 1, inFlight: 0, left: 1 });
  expect([...harness.sink.undelivered.values]).toEqual([["app", 1]]);
  expect(harness.position).toBeLessThan(harness.offset);
});
