import { expect, test } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { exportBuffer } from "../../src/cli/buffer_export.ts";
import { until } from "../kafka/support.ts";
import { flipBit } from "../support/journal_damage.ts";
import { bufferDirOf, DISK, eventPlaces, exported, fillBuffer, linesOf } from "./buffer_harness.ts";
import { FakeProcess } from "./fake_process.ts";
import { StateHarness } from "./state_harness.ts";

const TOP = "shutdown_timeout_secs = 0.2";

test("export writes what is not delivered, in order, over segments, and --all what is there", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"], { top: TOP, sink: `${DISK}\nbatch.max_events = 3` });
  writeFileSync(state.dir.file("a.log"), "");
  await fillBuffer(state, config, 0, [10, 10]);
  await fillBuffer(state, config, 20, [15]);
  expect(await exported(state, config)).toMatchObject({ code: 0, stderr: "", lines: linesOf(0, 35) });
  // One batch of three is delivered, all others are not.
  let taken = 0;
  state.kafka.fault = () => taken++ === 0 ? undefined : { kind: "silence" };
  const host = new FakeProcess();
  const running = host.run(config);
  await until(() => state.kafka.values().length >= 3, "a batch is delivered");
  await Bun.sleep(100);
  host.signal("SIGTERM");
  await running;
  const delivered = new Set(state.kafka.values());
  const left = await exported(state, config);
  expect(left.lines).toEqual(linesOf(0, 35).filter((line) => !delivered.has(line)));
  expect((await exported(state, config, { all: true })).lines).toEqual(linesOf(0, 35));
}, 60_000);

test("export --format json gives all that is known of an event, bytes that are no UTF-8 too", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"], {
    top: TOP,
    sink: `${DISK}\nencoding.codec = "raw"\nkey_field = "file"`,
  });
  writeFileSync(state.dir.file("a.log"), "");
  await fillBuffer(state, config, 0, [1]);
  appendFileSync(state.dir.file("a.log"), Buffer.from([0xff, 0xfe, 0x0a]));
  await fillBuffer(state, config, 2, [1]);
  const { lines } = await exported(state, config, { format: "json" });
  const all = lines.map((line) => JSON.parse(line));
  const events = all.map(({ state: _, received: __, ...event }) => event);
  const common = {
    source: "app",
    file: state.dir.file("a.log"),
    topic: "logs",
    key: state.dir.file("a.log"),
  };
  expect(events).toEqual([
    { ...common, number: 0, offset: 0, value: "line 0" },
    { ...common, number: 1, offset: 7, value: "//4=", value_encoding: "base64" },
    { ...common, number: 2, offset: 10, value: "line 2" },
  ]);
  expect(all[0].state).toBe("open");
  for (const { state: fate, received } of all) {
    expect(["open", "waiting"]).toContain(fate);
    expect(received).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/u);
  }
}, 60_000);

test("export goes on behind damage, says what is missing, and ends with exit code 1", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"], { top: TOP, sink: DISK });
  writeFileSync(state.dir.file("a.log"), "");
  await fillBuffer(state, config, 0, [5, 5, 5]);
  const place = eventPlaces(bufferDirOf(state))[1]!;
  flipBit(place.file, place.offset + 90);
  const { code, lines, stderr } = await exported(state, config);
  expect(code).toBe(1);
  expect(lines).toEqual([...linesOf(0, 5), ...linesOf(10, 15)]);
  expect(stderr).toBe(
    `error: The buffer is damaged: "${place.file}", byte ${place.groupAt}: ` +
      "what is written there is not what was stored: events 5 to 9 are missing\n",
  );
}, 60_000);

test("export ends well when nobody reads on, and says so when the output cannot be written", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"], { top: TOP, sink: DISK });
  writeFileSync(state.dir.file("a.log"), "");
  await fillBuffer(state, config, 0, [5]);
  const failing = (code: string) =>
    state.call(
      (args: Parameters<typeof exportBuffer>[0], context) =>
        exportBuffer(args, context, () => {
          throw Object.assign(new Error(code), { code });
        }),
      { command: "buffer export", configPaths: [config], sink: "events", format: "lines", all: false },
    );
  expect(await failing("EPIPE")).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(await failing("ENOSPC")).toEqual({
    code: 1,
    stdout: "",
    stderr: "error[output-unwritable]: Cannot write to standard output (ENOSPC): the export is cut short\n" +
      " = hint: look at where it goes, and at the free space there\n",
  });
  expect((await exported(state, config, { sink: "other" })).stderr).toContain("error[unknown-buffer]: ");
}, 60_000);

test(
  "export while a shipper fills, delivers and takes segments away gives each event once, in order",
  async () => {
    await using state = await StateHarness.start();
    const config = state.config(["events"], { sink: 'buffer.type = "disk"\nbuffer.max_size = "1MiB"' });
    writeFileSync(state.dir.file("a.log"), "");
    const host = new FakeProcess();
    const running = host.run(config);
    let written = 0;
    let seen = 0;
    for (let round = 0; round < 40; round++) {
      const lines = linesOf(written, written + 400).map((line) => `${line} ${"x".repeat(60)}\n`);
      appendFileSync(state.dir.file("a.log"), lines.join(""));
      written += 400;
      await Bun.sleep(10);
      const { code, stderr, lines: events } = await exported(state, config, {
        format: "json",
        all: round % 2 === 0,
      });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const numbers = events.map((line) => (JSON.parse(line) as { number: number }).number);
      for (let i = 1; i < numbers.length; i++) expect(numbers[i]! > numbers[i - 1]!).toBe(true);
      seen += numbers.length;
    }
    expect(seen).toBeGreaterThan(0);
    await until(() => state.kafka.values().length === written, "all is delivered");
    host.signal("SIGTERM");
    expect(await running).toBe(0);
    expect((await exported(state, config)).lines).toEqual([]);
  },
  90_000,
);
