import { expect, test } from "bun:test";
import { found, passed, placeOf, someOf } from "../../src/check/check_result.ts";
import { runCheck } from "../../src/check/run_check.ts";
import { StartError } from "../../src/errors.ts";
import { KafkaError } from "../../src/kafka/errors.ts";

const place = placeOf("files", { source: "app", target: "/var/log/*.log" });
const check = { place, timeoutMs: 1_000, what: "look at files" };

test("results come as they are", async () => {
  const results = [passed(place, "Good"), found("warning", place, "odd", "Odd", "Do")];
  expect(await runCheck({ ...check, run: () => Promise.resolve(results) })).toEqual(results);
});

test("what takes too long has failed, and hears that its time is up", async () => {
  let isAborted = false;
  const run = (signal: AbortSignal) => {
    signal.addEventListener("abort", () => isAborted = true);
    return new Promise<never>(() => {});
  };
  const [result] = await runCheck({ ...check, timeoutMs: 20, run });
  expect(result).toEqual({
    check: "files",
    sink: null,
    source: "app",
    target: "/var/log/*.log",
    status: "failed",
    code: "timeout",
    message: "Cannot look at files: nothing came of it within 0.02 s",
    hint: "Look for a broker, a disk or a network file system that does not answer",
  });
  expect(isAborted).toBe(true);
});

test("an error is a result, with its own words where it has some", async () => {
  const fail = (error: unknown) => runCheck({ ...check, run: () => Promise.reject(error) });
  expect(await fail(new KafkaError("closed", "It is closed", { hint: "Open it" }))).toMatchObject([
    { status: "failed", code: "closed", message: "It is closed", hint: "Open it" },
  ]);
  expect(await fail(new StartError("journal-damaged", "It is damaged"))).toMatchObject([
    { status: "failed", code: "journal-damaged", message: "It is damaged", hint: null },
  ]);
  expect(await fail(Object.assign(new Error("no"), { code: "EIO" }))).toMatchObject([
    { code: "EIO", message: "Cannot look at files (EIO)" },
  ]);
  expect(await fail(new TypeError("a bug"))).toMatchObject([
    { code: "UNKNOWN", message: "Cannot look at files (a bug)" },
  ]);
});

test("a line names some of many", () => {
  expect(someOf(["a", "b"])).toBe('"a", "b"');
  expect(someOf(["a", "b", "c", "d", "e", "f", "g"])).toBe('"a", "b", "c", "d", "e" and 2 more');
});
