import { expect, test } from "bun:test";
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { listBuffers } from "../../src/cli/buffer_ls.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { until } from "../kafka/support.ts";
import { bufferDirOf, DISK, fillBuffer, linesOf, ls } from "./buffer_harness.ts";
import { FakeProcess } from "./fake_process.ts";
import { StateHarness } from "./state_harness.ts";

const TOP = "shutdown_timeout_secs = 0.2";

test("ls shows what is not delivered, by file, and nothing when all is", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"], { top: TOP, sink: `${DISK}\nbatch.max_events = 10` });
  writeFileSync(state.dir.file("b.log"), "other\n");
  await fillBuffer(state, config, 0, [30, 9]);
  const [found] = await ls(state, config);
  expect(found).toMatchObject({
    sink: "events",
    dir: bufferDirOf(state),
    isConfigured: true,
    isInUse: true,
    maxSizeBytes: 256 * 1024 * 1024,
    segmentCount: 1,
    fileBytes: 16 * 1024 * 1024,
    damaged: [],
    events: 40,
    files: [{ source: "app", file: state.dir.file("a.log"), events: 39 }, {
      source: "app",
      file: state.dir.file("b.log"),
      events: 1,
    }],
    problems: 0,
  });
  // The file is sparse.
  expect(found!.diskBytes).toBeLessThan(1024 * 1024);
  const live = [...readJournal(state.dataDir).live.values()];
  const openCount = live.reduce((sum, { intent }) => sum + intent.count, 0);
  expect(openCount).toBeGreaterThan(0);
  expect(found!.fateOpen).toBe(openCount);
  expect(Math.abs(found!.newestMs! - Date.now())).toBeLessThan(60_000);
  expect(found!.oldestMs!).toBeLessThanOrEqual(found!.newestMs!);
  const { stdout } = await state.call(listBuffers, {
    command: "buffer ls",
    configPaths: [config],
    sink: null,
    json: false,
  });
  expect(stdout).toMatch(
    /events +\/.*\/buffer\/events +1 +\S+ KiB +256\.0 MiB +40 +\d+ +0:\d\d ago +0:\d\d ago +0\n/,
  );
  expect(stdout).toMatch(new RegExp(`events +app +${state.dir.file("a.log")} +39\n`));
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  expect(state.kafka.values()).toHaveLength(40);
  expect((await ls(state, config))[0]).toMatchObject({ events: 0, fateOpen: 0, oldestMs: null, files: [] });
}, 60_000);

test("ls counts neither what is delivered nor what was given up of a frame", async () => {
  await using state = await StateHarness.start(2);
  const config = state.config(["events"], { top: TOP, sink: `${DISK}\nbatch.max_events = 10` });
  writeFileSync(state.dir.file("a.log"), linesOf(0, 100).map((line) => `${line}\n`).join(""));
  state.kafka.refuse = ({ partition, values }) => {
    if (partition === 1) return { errorCode: ErrorCode.NOT_ENOUGH_REPLICAS };
    return values.includes("line 3") ? { errorCode: ErrorCode.INVALID_RECORD } : undefined;
  };
  const host = new FakeProcess();
  const running = host.run(config);
  await until(() => state.kafka.values().length >= 20, "some are delivered");
  host.signal("SIGTERM");
  await running;
  const dropped = state.kafka.values().includes("line 3") ? 0 : 1;
  const [found] = await ls(state, config);
  const twiceCount = found!.events + state.kafka.values().length + dropped - 100;
  // What was written and not answered when the time for the end was over is in both.
  expect(twiceCount).toBeGreaterThanOrEqual(0);
  expect(twiceCount).toBeLessThanOrEqual(found!.fateOpen);
  expect(found!.events).toBeGreaterThan(0);
}, 60_000);

test(
  "ls shows buffers of sinks that left the configuration, that moved to memory, and that are empty",
  async () => {
    await using state = await StateHarness.start();
    const config = state.config(["events"], { top: TOP, sink: DISK });
    await fillBuffer(state, config, 0, [5]);
    const other = state.config(["more"], { top: TOP, sink: DISK });
    expect((await ls(state, other)).map(({ sink, isConfigured, events }) => [sink, isConfigured, events]))
      .toEqual([["events", false, 5], ["more", true, 0]]);
    const text = async (path: string, sink: string | null) =>
      await state.call(listBuffers, { command: "buffer ls", configPaths: [path], sink, json: false });
    expect((await text(other, null)).stdout).toContain("events (not configured)");
    const memory = state.config(["events"], { top: TOP });
    expect((await text(memory, "events")).stdout).toContain("events (in memory now)");
    expect(await text(other, "event")).toEqual({
      code: 78,
      stdout: "",
      stderr: `error[unknown-buffer]: There is no disk buffer of sink "event" in "${state.dataDir}"\n` +
        ' = hint: did you mean "events"?\n',
    });
  },
  60_000,
);

test("ls shows files that were set aside, and says so when there is no buffer", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"], { top: TOP });
  const args = { command: "buffer ls", configPaths: [config], sink: null, json: false } as const;
  expect((await state.call(listBuffers, args)).stdout).toBe(
    `There is no disk buffer in "${state.dataDir}"\n`,
  );
  mkdirSync(join(bufferDirOf(state), "damaged"), { recursive: true });
  writeFileSync(join(bufferDirOf(state), "damaged", "x.seg"), "abc");
  expect((await ls(state, config))[0]).toMatchObject({
    damaged: [{ name: "x.seg", sizeBytes: 3 }],
    events: 0,
  });
});

test("ls looks on while a shipper fills, delivers and takes segments away", async () => {
  await using state = await StateHarness.start();
  // Segments of 32 KiB: they come and go all the time.
  const config = state.config(["events"], { sink: 'buffer.type = "disk"\nbuffer.max_size = "1MiB"' });
  writeFileSync(state.dir.file("a.log"), "");
  const host = new FakeProcess();
  const running = host.run(config);
  let written = 0;
  for (let round = 0; round < 40; round++) {
    const lines = linesOf(written, written + 400).map((line) => `${line} ${"x".repeat(60)}\n`);
    appendFileSync(state.dir.file("a.log"), lines.join(""));
    written += 400;
    await Bun.sleep(10);
    const [found] = await ls(state, config);
    expect(found!.problems).toBe(0);
    expect(found!.events).toBeLessThanOrEqual(written);
  }
  await until(() => state.kafka.values().length === written, "all is delivered");
  host.signal("SIGTERM");
  expect(await running).toBe(0);
  expect((await ls(state, config))[0]!.events).toBe(0);
}, 90_000);
