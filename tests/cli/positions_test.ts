import { expect, test } from "bun:test";
import { appendFileSync, existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { forgetSink } from "../../src/cli/forget_sink.ts";
import { type PositionRow, showPositions } from "../../src/cli/positions.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { acquireDataDir } from "../../src/checkpoint/data_dir_lock.ts";
import { JOURNAL_FOLDER, readJournal } from "../../src/journal/journal_reader.ts";
import {
  DATA_SUFFIX,
  headerLine,
  INDEX_SUFFIX,
  pieceLine,
  RESCUE_FOLDER,
  rescueKey,
} from "../../src/source/rescue_index.ts";
import { camelCaseKeys } from "../../src/telemetry/json_keys.ts";
import { until } from "../kafka/support.ts";
import { bufferDirOf, DISK, eventPlaces } from "./buffer_harness.ts";
import { FakeProcess } from "./fake_process.ts";
import { StateHarness } from "./state_harness.ts";

async function rows(state: StateHarness, config: string): Promise<PositionRow[]> {
  const { code, stdout, stderr } = await state.call(showPositions, {
    command: "positions",
    configPaths: [config],
    json: true,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return (camelCaseKeys(JSON.parse(stdout)) as { positions: PositionRow[] }).positions;
}

function forget(state: StateHarness, config: string, sink: string) {
  return state.call(forgetSink, { command: "positions forget", configPaths: [config], sink });
}

test("positions shows every file and sink: delivered, rotated since, and gone", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events", "copy"]);
  writeFileSync(state.dir.file("a.log"), "one\ntwo\n");
  writeFileSync(state.dir.file("b.log"), "three\n");
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  // While nobody looked: one was rotated and the other removed.
  renameSync(state.dir.file("a.log"), state.dir.file("a.log.1"));
  appendFileSync(state.dir.file("a.log.1"), "more\n");
  writeFileSync(state.dir.file("a.log"), "a new file\n");
  rmSync(state.dir.file("b.log"));
  const found = await rows(state, config);
  expect(found.map(({ path, sink }) => [path, sink])).toEqual([
    [state.dir.file("a.log"), "copy"],
    [state.dir.file("a.log"), "events"],
    [state.dir.file("b.log"), "copy"],
    [state.dir.file("b.log"), "events"],
  ]);
  expect(found[0]).toMatchObject({
    source: "app",
    isConfigured: true,
    position: 8,
    frontier: 8,
    holes: { count: 0, bytes: 0 },
    live: { batches: 0, events: 0 },
    sizeBytes: 13,
    lagBytes: 5,
  });
  expect(found[2]).toMatchObject({ position: 6, sizeBytes: null, lagBytes: null });
  expect(Math.abs(found[0]!.lastSeenMs - Date.now())).toBeLessThan(60_000);
});

test("positions shows a file that is gone and of which a copy is in data_dir", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"]);
  writeFileSync(state.dir.file("a.log"), "one\ntwo\n");
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  rmSync(state.dir.file("a.log"));
  const [row] = await rows(state, config);
  expect(row).toMatchObject({ isRescued: false, sizeBytes: null });
  const folder = join(state.dataDir, RESCUE_FOLDER);
  mkdirSync(folder);
  const file = join(folder, rescueKey("app", row!.streamId));
  const piece = { endOffset: 1_234, crc32: 0, isAtEnd: true };
  const header = { source: "app", id: row!.streamId, startOffset: 8 };
  writeFileSync(`${file}${INDEX_SUFFIX}`, headerLine(header) + pieceLine(piece) + "torn");
  writeFileSync(`${file}${DATA_SUFFIX}`, "");
  expect((await rows(state, config))[0]).toMatchObject({
    isRescued: true,
    position: 8,
    sizeBytes: 1_234,
    lagBytes: 1_226,
  });
  const args = { command: "positions", configPaths: [config], json: false } as const;
  expect((await state.call(showPositions, args)).stdout).toContain("1,234 (rescued)");
});

test("positions shows live batches and holes of a run that was cut short, and the next run fills them", async () => {
  await using state = await StateHarness.start(2);
  const config = state.config(["events"], {
    top: "shutdown_timeout_secs = 0.2",
    sink: "batch.max_events = 2",
  });
  const lines = Array.from({ length: 400 }, (_, i) => `line ${i}`);
  writeFileSync(state.dir.file("a.log"), lines.map((line) => `${line}\n`).join(""));
  // One partition takes what comes, the other one nothing: a frontier with batches in front of it that are not acknowledged.
  state.kafka.refuse = ({ partition }) =>
    partition === 1 ? { errorCode: ErrorCode.NOT_ENOUGH_REPLICAS } : undefined;
  const host = new FakeProcess();
  const running = host.run(config);
  await until(() => state.kafka.values().length > 20, "some are delivered");
  host.signal("SIGTERM");
  await running;
  const [row] = await rows(state, config);
  // Of each partition one that is on its way, and one ready to follow.
  expect(row!.live.batches).toBeGreaterThanOrEqual(2);
  expect(row!.live.events).toBe(2 * row!.live.batches);
  expect(row!.frontier).toBeGreaterThan(row!.position);
  expect(row!.holes.count).toBeGreaterThan(0);
  expect(row!.holes.bytes).toBeLessThanOrEqual(row!.frontier - row!.position);
  expect(row!.lagBytes).toBe(row!.sizeBytes! - row!.position);
  const { stdout } = await state.call(showPositions, {
    command: "positions",
    configPaths: [config],
    json: false,
  });
  expect(stdout).toContain("SOURCE");
  expect(stdout).toMatch(new RegExp(`app +events +${state.dir.file("a.log")} `));
  expect(stdout).toContain(` ${row!.live.batches} (${row!.live.events} events) `);
  state.kafka.refuse = () => undefined;
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  expect(state.kafka.values().sort()).toEqual(lines.sort());
  expect((await rows(state, config))[0]).toMatchObject({
    holes: { count: 0, bytes: 0 },
    live: { batches: 0 },
    lagBytes: 0,
  });
});

test("positions reads while a shipper runs, and writes nothing", async () => {
  await using state = await StateHarness.start();
  const config = state.config();
  writeFileSync(state.dir.file("a.log"), "one\n");
  const host = new FakeProcess();
  const running = host.run(config);
  await until(() => state.kafka.values().length === 1, "it is delivered");
  let found: PositionRow[] = [];
  for (let tries = 0; tries < 100 && found[0]?.position !== 4; tries++) {
    await Bun.sleep(20);
    found = await rows(state, config);
  }
  expect(found[0]).toMatchObject({ position: 4, sizeBytes: 4, lagBytes: 0 });
  host.signal("SIGTERM");
  expect(await running).toBe(0);
});

test("positions says so when nothing is stored, and makes no data_dir", async () => {
  await using state = await StateHarness.start();
  const config = state.config();
  const result = await state.call(showPositions, {
    command: "positions",
    configPaths: [config],
    json: false,
  });
  expect(result).toEqual({ code: 0, stdout: `Nothing is stored in "${state.dataDir}"\n`, stderr: "" });
  expect(() => statSync(state.dataDir)).toThrow();
});

test("positions shows what the first version stored, which no journal has taken over yet", async () => {
  await using state = await StateHarness.start();
  mkdirSync(state.dataDir);
  const path = state.dir.file("old.log");
  const stream = {
    source: "app",
    id: "1:2:3",
    path,
    lastPath: path,
    dev: "1",
    ino: "2",
    birthtimeNs: "3",
    generation: 0,
    sinceNs: "3",
    fingerprintBytes: 4,
    fingerprint: "ab",
    seenMs: 1_000,
    offsets: { events: 17 },
  };
  const crc32 = Bun.hash.crc32(JSON.stringify([stream])).toString(16).padStart(8, "0");
  writeFileSync(
    join(state.dataDir, "positions.json"),
    JSON.stringify({ version: 1, crc32, streams: [stream] }),
  );
  expect(await rows(state, state.config())).toMatchObject([{
    sink: "events",
    position: 17,
    sizeBytes: null,
  }]);
});

test("a file's name cannot write to the terminal", async () => {
  await using state = await StateHarness.start();
  const config = state.config();
  writeFileSync(state.dir.file("evil\u001b[2J.log"), "one\n");
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  const { stdout } = await state.call(showPositions, {
    command: "positions",
    configPaths: [config],
    json: false,
  });
  expect(stdout).not.toContain("\u001b");
  expect(stdout).toContain("evil\\x1b[2J.log");
});

test("a sink that left the configuration is shown, marked, and forgotten when asked", async () => {
  await using state = await StateHarness.start();
  writeFileSync(state.dir.file("a.log"), "one\ntwo\n");
  expect(await new FakeProcess().run(state.config(["events", "old"]), { once: true })).toBe(0);
  const config = state.config(["events"]);
  const shown = await state.call(showPositions, { command: "positions", configPaths: [config], json: false });
  expect(shown.stdout).toContain("old (not configured)");
  expect(shown.stdout).toContain(`shipper positions forget --sink old --config ${config}`);
  expect(await forget(state, config, "old")).toEqual({
    code: 0,
    stdout: 'Sink "old" has positions in 1 file, 0 B of which are not delivered to it\nForgot sink "old"\n',
    stderr: "",
  });
  expect((await rows(state, config)).map(({ sink, position }) => [sink, position])).toEqual([["events", 8]]);
  // What is kept still counts: nothing is sent again.
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  expect(state.kafka.values()).toHaveLength(4);
  // And it is read anew when it comes back.
  expect(await new FakeProcess().run(state.config(["events", "old"]), { once: true })).toBe(0);
  expect(state.kafka.values()).toHaveLength(6);
});

test("batches in doubt of a sink are told, and are forgotten with it", async () => {
  await using state = await StateHarness.start();
  writeFileSync(state.dir.file("a.log"), "one\ntwo\n");
  state.kafka.fault = () => ({ kind: "silence" });
  const host = new FakeProcess();
  const running = host.run(state.config(["old"], { top: "shutdown_timeout_secs = 0.1" }));
  await until(() => state.kafka.attempts.length > 0, "something is in flight");
  host.signal("SIGTERM");
  await running;
  expect(readJournal(state.dataDir).live.size).toBe(1);
  const { code, stdout } = await forget(state, state.config(["events"]), "old");
  expect(code).toBe(0);
  expect(stdout).toContain(
    "1 batch with 2 events of it is in doubt: nobody will find out whether they arrived, and they are not sent again\n",
  );
  const after = readJournal(state.dataDir);
  expect([after.live.size, after.runs.size, after.positions.sinkNames()]).toEqual([0, 0, []]);
});

test("forget refuses a configured sink, an unknown one, and a data_dir in use, and changes nothing", async () => {
  await using state = await StateHarness.start();
  writeFileSync(state.dir.file("a.log"), "one\n");
  expect(await new FakeProcess().run(state.config(["events", "archive"]), { once: true })).toBe(0);
  const config = state.config(["events"]);
  expect(await forget(state, config, "events")).toEqual({
    code: 78,
    stdout: "",
    stderr:
      'error[sink-configured]: Cannot forget sink "events": it is in the configuration, and would read every file anew\n' +
      " = hint: take it out of the configuration first\n",
  });
  expect((await forget(state, config, "archiv")).stderr).toBe(
    'error[unknown-sink]: Cannot forget sink "archiv": nothing is stored of it\n = hint: did you mean "archive"?\n',
  );
  expect((await forget(state, config, "zzzzzzzz")).stderr).toContain(
    ' = hint: stored are: "archive", "events"\n',
  );
  const lock = acquireDataDir(state.dataDir);
  const locked = await forget(state, config, "archive");
  lock.release();
  expect(locked.code).toBe(78);
  expect(locked.stderr).toContain(
    `error[data-dir-locked]: Cannot use data_dir "${state.dataDir}": process ${process.pid}`,
  );
  expect((await rows(state, config)).map(({ sink }) => sink)).toEqual(["archive", "events"]);
});

test("forget makes no data_dir", async () => {
  await using state = await StateHarness.start();
  expect((await forget(state, state.config(), "old")).stderr).toBe(
    'error[unknown-sink]: Cannot forget sink "old": nothing is stored of it\n = hint: nothing is stored of any sink\n',
  );
  expect(() => statSync(join(state.dataDir, JOURNAL_FOLDER))).toThrow();
});

test("a disk buffer has a row of its own, in events, and goes with its sink", async () => {
  await using state = await StateHarness.start();
  const away = state.config(["old"], { top: "shutdown_timeout_secs = 0.2", sink: DISK, isBrokerAway: true });
  writeFileSync(state.dir.file("a.log"), "one\ntwo\n");
  const host = new FakeProcess();
  const running = host.run(away);
  await until(() => eventPlaces(bufferDirOf(state, "old")).length > 0, "they are in the buffer");
  host.signal("SIGTERM");
  await running;
  const [buffer, file] = await rows(state, away);
  expect(buffer).toMatchObject({
    source: "(disk buffer)",
    sink: "old",
    path: bufferDirOf(state, "old"),
    unit: "events",
    position: 0,
    holes: { count: 0, bytes: 0, events: 0 },
    sizeBytes: null,
    lagBytes: null,
    lagEvents: 2,
  });
  expect(file).toMatchObject({ source: "app", unit: "bytes", position: 8, lagBytes: 0, lagEvents: null });
  const args = { command: "positions", configPaths: [away], json: false } as const;
  const { stdout } = await state.call(showPositions, args);
  expect(stdout).toMatch(/\(disk buffer\) +old +\/\S+\/buffer\/old +0 +0 +0 +0 +- +2 events /);
  const config = state.config(["events"]);
  expect(await forget(state, config, "old")).toEqual({
    code: 0,
    stdout: 'Sink "old" has positions in 1 file, 0 B of which are not delivered to it\n' +
      `Its disk buffer "${
        bufferDirOf(state, "old")
      }" is removed: 2 events in it that are not delivered go with it\n` +
      'Forgot sink "old"\n',
    stderr: "",
  });
  expect(existsSync(bufferDirOf(state, "old"))).toBe(false);
  expect(await rows(state, config)).toEqual([]);
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  expect(state.kafka.values()).toEqual(["one", "two"]);
});

test("forget removes a disk buffer of which the journal knows nothing", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"]);
  mkdirSync(bufferDirOf(state, "old"), { recursive: true });
  expect((await forget(state, config, "odl")).stderr).toContain('did you mean "old"?');
  const { code, stdout } = await forget(state, config, "old");
  expect(code).toBe(0);
  expect(stdout).toContain("is removed: everything in it is delivered\n");
  expect(existsSync(bufferDirOf(state, "old"))).toBe(false);
});
