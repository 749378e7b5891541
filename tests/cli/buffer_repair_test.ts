import { describe, expect, test } from "bun:test";
import { appendFileSync, existsSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { audit } from "../../src/cli/audit.ts";
import { repairJournal } from "../../src/cli/buffer_repair.ts";
import { acquireDataDir } from "../../src/checkpoint/data_dir_lock.ts";
import { JournalFrame } from "../../src/journal/frames.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { damageFrame, flipBit } from "../support/journal_damage.ts";
import { until } from "../kafka/support.ts";
import { FakeProcess } from "./fake_process.ts";
import { StateHarness } from "./state_harness.ts";

const SECOND_LINES_OF_REPORT =
  "What was journalled behind the damage is not known any more: lines behind the last known positions are read again,\n" +
  "and those that were delivered meanwhile are sent twice\n";

function repair(state: StateHarness, config: string) {
  return state.call(repairJournal, { command: "buffer repair", configPaths: [config] });
}

/** A run that ends without a clean stop of its journal, as after a kill, so that its last segment is what the next start reads. */
async function shipAndStop(state: StateHarness, config: string, lineCount: number): Promise<void> {
  const host = new FakeProcess();
  const running = host.run(config);
  const before = state.kafka.values().length;
  await until(() => host.stderr.includes("passed"), "it runs");
  await Bun.sleep(100); // with read_from = "end" the file has to be found before anything is in it
  for (let i = 0; i < lineCount; i++) {
    appendFileSync(state.dir.file("a.log"), `line ${before + i}\n`);
    await until(() => state.kafka.values().length > before + i, `line ${before + i} is delivered`);
  }
  host.signal("SIGTERM");
  expect(await running).toBe(0);
}

function journalDir(state: StateHarness): string {
  return join(state.dataDir, "journal");
}

describe("a journal that is damaged in the middle", () => {
  test(
    "refuses a start, is repaired, and loses nothing; what was behind the damage comes twice at most",
    async () => {
      await using state = await StateHarness.start();
      const config = state.config();
      writeFileSync(state.dir.file("a.log"), "");
      await shipAndStop(state, config, 12);
      const { file, byte } = damageFrame(state.dataDir, JournalFrame.INTENT, -4);
      const host = new FakeProcess();
      expect(await host.run(config, { once: true })).toBe(78);
      const text =
        `Cannot use the journal: "${file}" is damaged at byte ${byte}: what was written there is wrong, and everything up to byte `;
      expect(host.stderr).toStartWith(`error[journal-damaged]: ${text}`);
      expect(host.stderr).toEndWith(
        " had been on the disk\n = hint: shipper buffer repair --journal --config FILE sets the damage aside and goes on from what is readable\n",
      );
      const { code, stdout, stderr } = await repair(state, config);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toStartWith(text);
      const [aside] = readdirSync(journalDir(state)).filter((name) => name.startsWith("damaged-"));
      expect(stdout).toContain(
        `\nSet aside: ${join(journalDir(state), aside!)}\nKept: what "${file}" says up to byte `,
      );
      expect(stdout).toMatch(/: positions of 1 file for 1 sink, \d+ batch(es)? in doubt\n/);
      expect(stdout).toEndWith(SECOND_LINES_OF_REPORT);
      expect(readdirSync(join(journalDir(state), aside!))).toHaveLength(1);
      // Nothing of the old segment is left where a start would look.
      expect(existsSync(file)).toBe(false);

      const again = new FakeProcess();
      appendFileSync(state.dir.file("a.log"), "the last\n");
      expect(await again.run(config, { once: true })).toBe(0);
      const values = state.kafka.values();
      const wanted = [...Array.from({ length: 12 }, (_, i) => `line ${i}`), "the last"];
      expect(new Set(values)).toEqual(new Set(wanted));
      // Four intents were behind the damage; the ones in front of it are not sent again.
      expect(values.length).toBeLessThanOrEqual(wanted.length + 5);
      expect(values.filter((value) => value === "line 3")).toHaveLength(1);
      expect((await state.call(audit, { command: "audit", configPaths: [config], json: false })).code).toBe(
        0,
      );
      expect(await repair(state, config)).toEqual({
        code: 0,
        stdout: `The journal in "${state.dataDir}" is not damaged: nothing to repair\n`,
        stderr: "",
      });
    },
    90_000,
  );

  test(
    "whose checkpoint is gone is repaired from the segment before it, which a free file still holds",
    async () => {
      await using state = await StateHarness.start();
      const config = state.config();
      writeFileSync(state.dir.file("a.log"), "");
      await shipAndStop(state, config, 3);
      await shipAndStop(state, config, 2);
      const segments = readdirSync(journalDir(state));
      const segment = segments.find((name) => /^\d+\.seg$/.test(name))!;
      expect(segments.some((name) => name.startsWith("free-"))).toBe(true);
      flipBit(join(journalDir(state), segment), 4_200);
      expect(await new FakeProcess().run(config, { once: true })).toBe(78);
      const { code, stdout } = await repair(state, config);
      expect(code).toBe(0);
      expect(stdout).toMatch(
        /Kept: what ".*free-\d+\.seg" says up to byte \d+: positions of 1 file for 1 sink/,
      );
      appendFileSync(state.dir.file("a.log"), "the last\n");
      expect(await new FakeProcess().run(config, { once: true })).toBe(0);
      const values = state.kafka.values();
      expect(new Set(values).size).toBe(6);
      // Only what the lost segment knew may come twice.
      expect(values.filter((value) => value === "line 0")).toHaveLength(1);
    },
    90_000,
  );

  test("of which nothing can be read is set aside, and every file is read anew", async () => {
    await using state = await StateHarness.start();
    const config = state.config(["events"], { source: 'read_from = "beginning"' });
    writeFileSync(state.dir.file("a.log"), "one\ntwo\n");
    expect(await new FakeProcess().run(config, { once: true })).toBe(0);
    for (const name of readdirSync(journalDir(state))) truncateSync(join(journalDir(state), name), 100);
    expect(await new FakeProcess().run(config, { once: true })).toBe(78);
    const { code, stdout } = await repair(state, config);
    expect(code).toBe(0);
    expect(stdout).toContain(
      "\nKept: nothing, there is no checkpoint that can be read. Every file is read anew, from where read_from says\n",
    );
    expect(await new FakeProcess().run(config, { once: true })).toBe(0);
    expect(state.kafka.values()).toEqual(["one", "two", "one", "two"]);
  });

  test('read_from = "end" has a warning of its own', async () => {
    await using state = await StateHarness.start();
    const config = state.config(["events"], { source: 'read_from = "end"' });
    writeFileSync(state.dir.file("a.log"), "");
    await shipAndStop(state, config, 4);
    damageFrame(state.dataDir, JournalFrame.INTENT, -2);
    expect((await repair(state, config)).stdout).toEndWith(
      'With read_from = "end" a file that was first seen behind the damage starts at its end: what was not delivered of it is skipped\n',
    );
    const { positions } = readJournal(state.dataDir);
    expect([...positions.entries()]).toHaveLength(1);
  });
});

test("repair says so when there is no journal, and makes no data_dir", async () => {
  await using state = await StateHarness.start();
  expect(await repair(state, state.config())).toEqual({
    code: 0,
    stdout: `There is no journal in "${state.dataDir}": nothing to repair\n`,
    stderr: "",
  });
  expect(existsSync(state.dataDir)).toBe(false);
});

test("repair is refused while a shipper uses the data_dir", async () => {
  await using state = await StateHarness.start();
  mkdirSync(journalDir(state), { recursive: true });
  const lock = acquireDataDir(state.dataDir);
  const { code, stderr } = await repair(state, state.config());
  lock.release();
  expect(code).toBe(78);
  expect(stderr).toContain("error[data-dir-locked]: ");
});

test("a repair that is cut short before the fresh journal is there can be run again", async () => {
  await using state = await StateHarness.start();
  const config = state.config();
  writeFileSync(state.dir.file("a.log"), "");
  await shipAndStop(state, config, 6);
  damageFrame(state.dataDir, JournalFrame.INTENT, -3);
  // What a first repair leaves that was killed behind the copy: the folder, and the damaged segment where it was.
  const [segment] = readdirSync(journalDir(state)).filter((name) => /^\d+\.seg$/.test(name));
  mkdirSync(join(journalDir(state), `damaged-${Number(segment!.slice(0, 16))}-2020-01-01T000000Z`));
  state.now = () => Date.parse("2020-01-01T00:00:00.000Z");
  expect((await repair(state, config)).code).toBe(0);
  const asides = readdirSync(journalDir(state)).filter((name) => name.startsWith("damaged-")).sort();
  expect(asides.map((name) => name.replace(/^damaged-\d+-/, ""))).toEqual([
    "2020-01-01T000000Z",
    "2020-01-01T000000Z-2",
  ]);
  expect(readJournal(state.dataDir).checkpoint).not.toBeNull();
});
