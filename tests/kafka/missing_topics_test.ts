import { expect, test } from "bun:test";
import { GIVEN_UP_TOPICS_MAX, MissingTopics } from "../../src/kafka/missing_topics.ts";
import { Membership } from "../../src/batch/membership.ts";
import { delivery } from "../support/events.ts";
import { KeptLog } from "./producer_harness.ts";

function start(timeoutMs: number | null) {
  const state = { nowMs: 0, givenUp: [] as string[], forgotten: [] as string[], dropped: [] as unknown[] };
  const log = new KeptLog();
  const missing = new MissingTopics({
    timeoutMs,
    certainMs: 2_000,
    log,
    dropEvents: (members, reason) => state.dropped.push([members, reason]),
    monotonic: () => state.nowMs,
    giveUp: (topic) => state.givenUp.push(topic),
    forget: (topic) => state.forgotten.push(topic),
  });
  return { state, log, missing };
}

test("a topic is given up when it has been missing for so long, once, and waited for again after it was there", () => {
  const { state, missing } = start(1_000);
  const at = (nowMs: number) => {
    state.nowMs = nowMs;
    missing.missing("a");
    return state.givenUp.length;
  };
  expect([at(0), at(999), at(1_000), at(5_000)]).toEqual([0, 0, 1, 1]);
  missing.known("a", true);
  expect([at(6_000), at(6_900), at(7_000)]).toEqual([1, 1, 2]);
  missing.known("a", true);
  expect(at(8_000)).toBe(2);
  missing.known("a", true);
  expect([at(8_900), at(9_100), at(9_900)]).toEqual([2, 2, 3]);
});

test("with a timeout of 0 it is given up at once; without one never", () => {
  const now = start(0);
  now.missing.missing("a");
  expect(now.state.givenUp).toEqual(["a"]);
  const never = start(null);
  never.state.nowMs = 1e12;
  never.missing.missing("a");
  never.missing.missing("a");
  expect(never.state.givenUp).toEqual([]);
});

test("only so many are remembered", () => {
  const { state, missing } = start(0);
  for (let i = 0; i < GIVEN_UP_TOPICS_MAX + 3; i++) missing.missing(`t${i}`);
  expect(state.forgotten).toEqual(["t0", "t1", "t2"]);
});

test("what is dropped is told", () => {
  const { state, log, missing } = start(1_000);
  const members = new Membership();
  members.addRange(delivery(["a", "b", "c"]).delivery, 0, 3);
  missing.drop("a", members);
  expect(state.dropped).toEqual([[members, "topic_missing"]]);
  expect(log.texts("error")[0]).toContain('3 events: the cluster has had no topic "a" for 1000 ms');
});

test("what may have been written is gone with its topic when that is certain, however short the time is that is waited", () => {
  for (const [timeoutMs, goneMs] of [[0, 2_000], [500, 2_000], [5_000, 5_000]] as const) {
    const { state, missing } = start(timeoutMs);
    const isGoneAt = (nowMs: number) => {
      state.nowMs = nowMs;
      missing.missing("a");
      return [missing.isGivenUp("a"), missing.isGone("a")];
    };
    isGoneAt(0);
    expect(isGoneAt(goneMs - 1)).toEqual([timeoutMs < goneMs, false]);
    expect(isGoneAt(goneMs)).toEqual([true, true]);
    missing.known("a", false);
    expect([missing.isGivenUp("a"), missing.isGone("a"), missing.hasGivenUp]).toEqual([false, false, false]);
    // The time counts anew.
    expect(isGoneAt(goneMs + 1)).toEqual([timeoutMs === 0, false]);
  }
});

test("a topic that was there all the time is an error where something was given up that may be in it", () => {
  for (
    const [isDoubtful, isSame, errorCount] of [[true, true, 1], [false, true, 0], [true, false, 0]] as const
  ) {
    const { log, missing } = start(0);
    missing.missing("a");
    missing.givenUp("a", 7, isDoubtful);
    missing.known("a", isSame);
    expect(log.texts("error")).toHaveLength(errorCount);
    if (errorCount > 0) expect(log.texts("error")[0]).toContain('Topic "a" was not deleted');
    missing.known("a", isSame);
    expect(log.texts("error")).toHaveLength(errorCount);
  }
});
