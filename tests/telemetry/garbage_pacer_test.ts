import { expect, test } from "bun:test";
import { GarbagePacer } from "../../src/telemetry/garbage_pacer.ts";
import { waitUntil } from "../support/wait_until.ts";

const MIB = 1_048_576;

function pacer(everyBytes: number) {
  const calls: string[] = [];
  const made = new GarbagePacer({
    collect: () => calls.push("collect"),
    onIdle: () => calls.push("idle"),
    everyBytes,
    idleMs: 10,
  });
  return { made, calls };
}

test("a collection is asked for after so many bytes", () => {
  const calls: string[] = [];
  const made = new GarbagePacer({ collect: () => calls.push("collect"), everyBytes: 100 });
  for (let i = 0; i < 7; i++) made.add(30);
  expect(calls).toEqual(["collect"]);
  made.add(30);
  expect(calls).toEqual(["collect", "collect"]);
});

test("what a burst has left is given back when it pauses, once", async () => {
  const { made, calls } = pacer(1_000 * MIB);
  for (let i = 0; i < 5; i++) made.add(MIB);
  await waitUntil("it is idle", () => calls.length > 0);
  expect(calls).toEqual(["idle", "collect"]);
  await Bun.sleep(50);
  expect(calls).toEqual(["idle", "collect"]);
  for (let i = 0; i < 5; i++) made.add(MIB);
  await waitUntil("it is idle again", () => calls.length > 2);
  expect(calls).toEqual(["idle", "collect", "idle", "collect"]);
});

test("little input leaves nothing to be collected", async () => {
  const { made, calls } = pacer(1_000 * MIB);
  for (let i = 0; i < 20; i++) {
    made.add(1_000);
    await Bun.sleep(1);
  }
  await Bun.sleep(50);
  expect(calls).toEqual([]);
});
