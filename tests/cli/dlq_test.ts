import { expect, spyOn, test } from "bun:test";
import fs from "node:fs";
import { replayLetters } from "../../src/cli/dlq_replay.ts";
import { listLetters, showLetter } from "../../src/cli/dlq_show.ts";
import { encodeLetter } from "../../src/dead_letter/letter_json.ts";
import { letterId } from "../../src/event/dead_letters.ts";
import type { DeadLetter } from "../../src/event/dead_letters.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { StateHarness } from "./state_harness.ts";

const letter = (offset: number, rest: Partial<DeadLetter> = {}): DeadLetter => ({
  reason: "record_too_large",
  error: "2000 bytes exceed max_message_bytes",
  stream: { id: "1:2:3", source: "app", path: "/var/log/app.log" },
  offset,
  timeMs: 1_767_225_600_000 + offset,
  sink: "events",
  topic: "logs",
  key: null,
  headers: [],
  value: Buffer.from(`value ${offset}`),
  ...rest,
});

/** A harness whose sink keeps dead letters, with these in the file. */
async function start(letters: readonly DeadLetter[]) {
  const state = await StateHarness.start();
  const file = state.dir.file("dead.jsonl");
  fs.writeFileSync(file, letters.map(encodeLetter).join(""));
  const config = state.config(["events"], { sink: `dead_letter.file = "${file}"` });
  const configPaths = [config];
  const replay = (to: string | null = null) =>
    state.call(replayLetters, { command: "dlq replay", configPaths, sink: "events", to, json: true });
  const ls = (json = true) => state.call(listLetters, { command: "dlq ls", configPaths, sink: null, json });
  return { state, file, configPaths, replay, ls };
}

test("ls lists each letter of the sink once, with its state, and passes over what is none", async () => {
  const { state, file, ls } = await start([
    letter(1),
    letter(1, { timeMs: 9 }),
    letter(2, { sink: "other" }),
    letter(3, { topic: null, stream: { id: "p", source: "in", path: "" }, reason: "template_error" }),
  ]);
  await using _state = state;
  fs.appendFileSync(file, `{"torn\n${encodeLetter(letter(4))}`);
  fs.writeFileSync(`${file}.replayed`, `${letterId(letter(1))} 2026-01-01T00:00:00.000Z\n`);
  const { code, stdout, stderr } = await ls();
  expect(code).toBe(0);
  expect(stderr).toContain("What is at line 5 of");
  const { sinks } = JSON.parse(stdout);
  expect(sinks[0].letters).toMatchObject([
    { id: letterId(letter(1)), time: "2026-01-01T00:00:00.001Z", offset: 1, replayed: true, size: 7 },
    { file: null, topic: null, reason: "template_error", source: "in", replayed: false },
    { offset: 4, topic: "logs", replayed: false },
  ]);
  const text = (await ls(false)).stdout;
  expect(text).toContain("3 dead letters, 2 of them not replayed");
  expect(text).toMatch(/record_too_large +app +\/var\/log\/app.log +4 +7 B +logs +waiting\n/u);
  expect(text).toMatch(/template_error +in +\(stdin\) +3 +\S+ B +\(none\) +waiting\n/u);
});

test("show prints one letter whole, for people and for programs", async () => {
  const shown = letter(7, {
    key: Buffer.from("k\u001b[31m"),
    headers: [["raw", Buffer.from([0xff])]],
    value: Buffer.from("line\nof two"),
  });
  const { state, configPaths } = await start([letter(1), shown]);
  await using _state = state;
  const show = (id: string, json: boolean) =>
    state.call(showLetter, { command: "dlq show", configPaths, sink: null, id, json });
  const { stdout } = await show(letterId(shown), false);
  expect(stdout).toContain("error: 2000 bytes exceed max_message_bytes\n");
  expect(stdout).toContain("key: k\\x1b[31m\n");
  expect(stdout).toContain("header raw: (base64) /w==\n");
  expect(stdout.endsWith("\nline\\x0aof two\n")).toBe(true);
  expect((await show(letterId(shown), true)).stdout).toBe(encodeLetter(shown));
  const none = await show("ffff", false);
  expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('There is no dead letter "ffff"')]);
});

test("replay sends what waits once, each to its topic with its key, and a second one nothing", async () => {
  const { state, file, replay } = await start([
    letter(1, { key: Buffer.from("k") }),
    letter(1),
    letter(2, { topic: "audit" }),
    letter(3, { topic: null }),
    letter(4, { sink: "other" }),
  ]);
  await using _state = state;
  state.kafka.addTopic("audit", 2);
  const first = await replay();
  expect(first.code).toBe(1);
  expect(JSON.parse(first.stdout)).toEqual({
    sink: "events",
    replayed: 2,
    refused: 0,
    without_topic: 1,
    replayed_before: 0,
  });
  expect(state.kafka.values()).toEqual(["value 1"]);
  expect(state.kafka.values("audit")).toEqual(["value 2"]);
  expect(state.kafka.violations).toEqual([]);
  const second = await replay("audit");
  expect(second.code).toBe(0);
  expect(JSON.parse(second.stdout)).toMatchObject({ replayed: 1, without_topic: 0, replayed_before: 2 });
  expect(state.kafka.values("audit").sort()).toEqual(["value 2", "value 3"]);
  expect(JSON.parse((await replay()).stdout)).toMatchObject({ replayed: 0, replayed_before: 3 });
  expect(fs.statSync(`${file}.replayed`).mode & 0o777).toBe(0o600);
});

test("replay keeps what is refused again, and marks the rest", async () => {
  const { state, replay } = await start([letter(1), letter(2, { value: Buffer.from("bad") }), letter(3)]);
  await using _state = state;
  state.kafka.refuse = ({ values }) => {
    const recordErrors = values.flatMap((value, index) => value === "bad" ? [{ index, message: null }] : []);
    return recordErrors.length === 0 ? undefined : { errorCode: ErrorCode.INVALID_RECORD, recordErrors };
  };
  const { code, stdout, stderr } = await replay();
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ replayed: 2, refused: 1 });
  expect(stderr).toContain(
    'from "/var/log/app.log" at byte 2 became dead letters: the broker answers INVALID_RECORD',
  );
  state.kafka.refuse = () => undefined;
  expect(JSON.parse((await replay()).stdout)).toMatchObject({ replayed: 1, refused: 0, replayed_before: 2 });
  expect(state.kafka.values()).toEqual(["value 1", "value 3", "bad"]);
});

test("two replays at once: the second is refused", async () => {
  const { state, file, replay } = await start([letter(1)]);
  await using _state = state;
  // As another process would hold it: flock belongs to the open file.
  const { lockFile } = await import("../../src/checkpoint/data_dir_lock.ts");
  const fd = fs.openSync(`${file}.replayed`, "a+");
  expect(lockFile(fd)).toBe(true);
  const { code, stderr } = await replay();
  expect([code, stderr]).toEqual([1, expect.stringContaining("Another process replays")]);
  fs.closeSync(fd);
  expect((await replay()).code).toBe(0);
});

test("sinks without dead letters, and sinks that are not there, are told", async () => {
  await using state = await StateHarness.start();
  const configPaths = [state.config(["events"])];
  for (
    const [sink, said] of [["events", 'Sink "events" keeps no dead letters'], [
      "x",
      'There is no sink "x" in the configuration\n = hint: the sinks are: "events"\n',
    ]]
  ) {
    const args = { command: "dlq ls" as const, configPaths, sink: sink!, json: false };
    const { code, stderr } = await state.call(listLetters, args);
    expect([code, stderr]).toEqual([1, expect.stringContaining(said!)]);
  }
});

/** From now on what is to be on the disk is not, as on one that is full; `count` times. */
function fullDisk(count: number) {
  const { fdatasyncSync } = fs;
  return spyOn(fs, "fdatasyncSync").mockImplementation((fd) => {
    if (count-- > 0) throw Object.assign(new Error("No space left"), { code: "ENOSPC" });
    fdatasyncSync(fd);
  });
}

test("a disk that is full under the marks ends a replay, with what is not marked and what to do", async () => {
  const { state, replay } = await start([letter(1), letter(2)]);
  await using _state = state;
  {
    using _disk = fullDisk(Infinity);
    const { code, stdout, stderr } = await replay();
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(
      '.replayed" (ENOSPC), which says what was replayed: marked: 0, sent and not marked: 2 dead letters',
    );
    expect(stderr).toContain("free space there");
  }
  expect((await replay()).code).toBe(0);
  expect(JSON.parse((await replay()).stdout)).toMatchObject({ replayed: 0, replayed_before: 2 });
});

test("once marks could not be written, nothing more is sent; what was sent is marked when it can be", async () => {
  const letters = Array.from({ length: 500 }, (_, i) => letter(i, { value: Buffer.alloc(10_000, 65) }));
  const { state, replay } = await start(letters);
  await using _state = state;
  state.kafka.fault = () => ({ delayMs: 50 });
  {
    using _disk = fullDisk(1);
    const { code, stderr } = await replay();
    expect([code, stderr]).toEqual([1, expect.stringContaining("(ENOSPC)")]);
  }
  const sentCount = state.kafka.values().length;
  const { stdout } = await replay();
  expect(JSON.parse(stdout)).toMatchObject({ replayed: 500 - sentCount, replayed_before: sentCount });
  expect(state.kafka.values().length).toBe(500);
});

test("marks that cannot be written at all: nothing is sent", async () => {
  const { state, replay } = await start([letter(1)]);
  await using _state = state;
  const { writeSync } = fs;
  using _disk = spyOn(fs, "writeSync").mockImplementation(
    ((fd: number, data: string) => {
      if (data === "\n") throw Object.assign(new Error("No space left"), { code: "ENOSPC" });
      return writeSync(fd, data);
    }) as typeof writeSync,
  );
  const { code, stderr } = await replay();
  expect([code, stderr]).toEqual([
    1,
    expect.stringContaining("(ENOSPC), which says what was replayed: nothing was sent"),
  ]);
  expect(state.kafka.values()).toEqual([]);
});
