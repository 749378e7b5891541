import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { DeadLetterFile, type DeadLetterFileOptions } from "../../src/dead_letter/dead_letter_file.ts";
import { decodeLetter, encodeLetter } from "../../src/dead_letter/letter_json.ts";
import type { DeadLetter } from "../../src/event/dead_letters.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const letter = (offset: number, value = `value ${offset}`): DeadLetter => ({
  reason: "record_too_large",
  error: "too large",
  stream: { id: "1:2:3", source: "app", path: "/var/log/app.log" },
  offset,
  timeMs: 1_000,
  sink: "events",
  topic: "logs",
  key: null,
  headers: [],
  value: Buffer.from(value),
});

/** Offsets of the letters in a file, and null for each line that is none. */
const offsetsIn = (name: string) =>
  fs.readFileSync(name, "utf8").split("\n").slice(0, -1).map((line) => decodeLetter(line)?.offset ?? null);

function open(name: string, options: Partial<DeadLetterFileOptions> = {}) {
  const problems: string[] = [];
  const safe: number[] = [];
  const file = new DeadLetterFile({
    path: name,
    sizeBytesMax: 1 << 20,
    onProblem: (message, hint) => problems.push(`${message} = ${hint}`),
    retryMs: 5,
    ...options,
  });
  const put = (offset: number, value?: string) => file.put(letter(offset, value), () => safe.push(offset));
  const until = (count: number) => waitUntil(`${count} letters are safe`, () => safe.length >= count);
  return { file, problems, safe, put, until };
}

test("letters are appended in order, for the owner alone, and called safe when they are in the file", async () => {
  await using dir = tempDir("dead-letters");
  const name = dir.file("dead.jsonl");
  const { file, safe, put, until, problems } = open(name);
  for (let i = 0; i < 50; i++) put(i);
  await until(50);
  expect(offsetsIn(name)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  expect(safe).toEqual(Array.from({ length: 50 }, (_, i) => i));
  expect(fs.statSync(name).mode & 0o777).toBe(0o600);
  await file.close();
  put(99);
  await Bun.sleep(20);
  expect(offsetsIn(name).length).toBe(50);
  expect(problems).toEqual([]);
});

test("nothing is safe before it is synced", async () => {
  await using dir = tempDir("dead-letters");
  const name = dir.file("dead.jsonl");
  const synced = Promise.withResolvers<void>();
  const { file, safe, put, until } = open(name, {
    ops: {
      open: fs.promises.open,
      async write(handle, bytes) {
        await handle.write(bytes);
      },
      sync: () => synced.promise,
    },
  });
  put(1);
  await waitUntil("it is written", () => fs.existsSync(name) && offsetsIn(name).length === 1);
  await Bun.sleep(20);
  expect(safe).toEqual([]);
  synced.resolve();
  await until(1);
  await file.close();
});

test("errors of the system lose nothing: they are told, and the letters are written again", async () => {
  await using dir = tempDir("dead-letters");
  const name = dir.file("dead.jsonl");
  const fail = (code: string) => Object.assign(new Error(code), { code });
  const failures = ["ENOSPC", "EIO", "EACCES"];
  let syncCount = 0;
  const { file, safe, put, until, problems } = open(name, {
    ops: {
      open(...args) {
        return failures.at(-1) === "EACCES"
          ? Promise.reject(fail(failures.pop()!))
          : fs.promises.open(...args);
      },
      async write(handle, bytes) {
        if (failures[0] === "ENOSPC" && failures.length === 1) {
          failures.pop();
          // A part of it fits.
          await handle.write(bytes.subarray(0, 10));
          throw fail("ENOSPC");
        }
        await handle.write(bytes);
      },
      async sync(handle) {
        syncCount++;
        if (failures.at(-1) === "EIO") throw fail(failures.pop()!);
        await handle.sync();
      },
    },
  });
  put(1);
  put(2);
  await until(2);
  put(3);
  await until(3);
  await file.close();
  expect(safe).toEqual([1, 2, 3]);
  expect(problems.map((each) => /\((\w+)\)/u.exec(each)![1])).toEqual(["EACCES", "EIO", "ENOSPC"]);
  expect(problems[2]).toContain("2 events wait, and with them what comes behind them = free space there");
  // What a failed sync left may be there; what was written in part is a line of its own that is no letter.
  expect(offsetsIn(name)).toEqual([1, 2, null, 1, 2, 3]);
  expect(syncCount).toBe(3);
});

test("a file that is full is not written to until it was moved away", async () => {
  await using dir = tempDir("dead-letters");
  const name = dir.file("dead.jsonl");
  const lineBytes = Buffer.byteLength(encodeLetter(letter(1)));
  const { file, safe, put, until, problems } = open(name, { sizeBytesMax: 2 * lineBytes });
  for (const offset of [1, 2, 3, 4]) put(offset);
  await until(2);
  await waitUntil("it is said that the file is full", () => problems.length > 1);
  expect(safe).toEqual([1, 2]);
  expect(problems[0]).toContain(`is full (dead_letter.max_size = ${2 * lineBytes}): 2 events wait`);
  fs.renameSync(name, `${name}.1`);
  await until(4);
  // A letter that is larger than all fits into an empty file.
  fs.renameSync(name, `${name}.2`);
  put(5, "x".repeat(10 * lineBytes));
  await until(5);
  await file.close();
  expect([`${name}.1`, `${name}.2`, name].map(offsetsIn)).toEqual([[1, 2], [3, 4], [5]]);
});

test("a line that a crash has cut is ended, and letters go on behind it", async () => {
  await using dir = tempDir("dead-letters");
  const name = dir.file("dead.jsonl");
  fs.writeFileSync(name, encodeLetter(letter(1)) + encodeLetter(letter(2)).slice(0, 40));
  const { file, put, until } = open(name);
  put(2);
  await until(1);
  await file.close();
  expect(offsetsIn(name)).toEqual([1, null, 2]);
});

test("what is no regular file is not written to, and a missing folder is told", async () => {
  await using dir = tempDir("dead-letters");
  const problems: string[] = [];
  for (const name of ["/dev/null", path.join(dir.path, "none", "dead.jsonl")]) {
    const opened = open(name);
    opened.put(1);
    await waitUntil("a problem", () => opened.problems.length > 0);
    problems.push(opened.problems[0]!);
    await opened.file.close();
    expect(opened.safe).toEqual([]);
  }
  expect(problems[0]).toContain(
    'Cannot write dead letters to "/dev/null" (not a regular file): 1 event waits',
  );
  expect(problems[1]).toContain("(ENOENT)");
});
