import { expect, test } from "bun:test";
import { firstSuccess } from "../../src/kafka/hedged.ts";

const never = new AbortController().signal;
const hang = () => new Promise<never>(() => {});
const fail = (message: string) => Promise.reject(new Error(message));

test("the next candidate is tried at once after a failure", async () => {
  const tried: number[] = [];
  const attempt = (candidate: number) => {
    tried.push(candidate);
    return candidate < 3 ? fail(`${candidate}`) : Promise.resolve(candidate);
  };
  expect(await firstSuccess([1, 2, 3, 4], 60_000, attempt, never)).toBe(3);
  expect(tried).toEqual([1, 2, 3]);
});

test("the next candidate is tried as well when the one before is slow, which may still win", async () => {
  const slow = Promise.withResolvers<string>();
  const attempt = (candidate: string) => {
    if (candidate === "slow") return slow.promise;
    slow.resolve("slow");
    return hang();
  };
  expect(await firstSuccess(["slow", "hangs"], 5, attempt, never)).toBe("slow");
});

test("all fail: the first error counts", async () => {
  const failed = firstSuccess([1, 2, 3], 5, (candidate) => fail(`${candidate}`), never);
  await expect(failed).rejects.toThrow("1");
  const late = (candidate: number) =>
    candidate === 1 ? Bun.sleep(10).then(() => fail("late")) : fail("early");
  await expect(firstSuccess([1, 2], 1, late, never)).rejects.toThrow("early");
});

test("ends when told to", async () => {
  const abort = new AbortController();
  const given = firstSuccess([1, 2], 5, hang, abort.signal);
  abort.abort(new Error("enough"));
  await expect(given).rejects.toThrow("enough");
  await expect(firstSuccess([1], 5, hang, abort.signal)).rejects.toThrow("enough");
});
