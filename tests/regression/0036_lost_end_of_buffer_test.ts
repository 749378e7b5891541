import { expect, test } from "bun:test";
import { appendFileSync, rmSync, writeFileSync } from "node:fs";
import { audit } from "../../src/cli/audit.ts";
import { bufferDirOf, DISK, eventPlaces, fillBuffer, linesOf, segmentFile } from "../cli/buffer_harness.ts";
import { FakeProcess } from "../cli/fake_process.ts";
import { StateHarness } from "../cli/state_harness.ts";
import { flipBit } from "../support/journal_damage.ts";

// The end of a disk buffer, its last group or its newest segment, was damaged or gone. Its events had been stored, and the positions of their files
// were behind them; but their numbers were given to the next events, so that nobody missed them: they were lost without a word, with exit code 0.
async function filled(): Promise<{ state: StateHarness; config: string }> {
  const state = await StateHarness.start();
  const more = { top: "shutdown_timeout_secs = 0.2", sink: DISK };
  const away = state.config(["events"], { ...more, isBrokerAway: true });
  writeFileSync(state.dir.file("a.log"), "");
  await fillBuffer(state, away, 0, [10]);
  await fillBuffer(state, away, 10, [10, 5]);
  return { state, config: state.config(["events"], more) };
}

async function expectLost(
  state: StateHarness,
  config: string,
  count: number,
  delivered: string[],
): Promise<void> {
  const host = new FakeProcess();
  expect(await host.run(config, { once: true })).toBe(1);
  expect(host.logged("error").map(({ message }) => message)).toContainEqual(
    `Lost ${count} events of the disk buffer of sink "events" in "${
      bufferDirOf(state)
    }": they are in none of its files, or where one is damaged`,
  );
  expect(host.stderr).not.toContain("does not add up");
  expect(state.kafka.values()).toEqual(delivered);
  const { code, stdout } = await state.call(audit, { command: "audit", configPaths: [config], json: true });
  expect(code).toBe(0);
  expect(JSON.parse(stdout).disk_buffers[0].lost).toEqual({ buffer_damaged: count });
  // And only once.
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  expect(state.kafka.values()).toEqual(delivered);
}

test("a last group that is damaged is told and counted", async () => {
  const { state, config } = await filled();
  await using _ = state;
  const { file, offset } = eventPlaces(bufferDirOf(state)).at(-1)!;
  flipBit(file, offset + 90);
  await expectLost(state, config, 5, linesOf(0, 20));
}, 60_000);

test(
  "a newest segment that is gone is told and counted, and the numbers of its events are not given again",
  async () => {
    const { state, config } = await filled();
    await using _ = state;
    rmSync(segmentFile(state, -1));
    appendFileSync(state.dir.file("a.log"), "more\n");
    await expectLost(state, config, 15, [...linesOf(0, 10), "more"]);
  },
  60_000,
);
