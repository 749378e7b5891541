import { describe, expect, test } from "bun:test";
import { appendFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../kafka/support.ts";
import { flipBit } from "../support/journal_damage.ts";
import {
  bufferDirOf,
  DISK,
  eventPlaces,
  fillBuffer,
  linesOf,
  segmentFile,
  verify,
  verifyText,
} from "./buffer_harness.ts";
import { FakeProcess } from "./fake_process.ts";
import { StateHarness } from "./state_harness.ts";

const TOP = "shutdown_timeout_secs = 0.2";

async function filled(): Promise<{ state: StateHarness; config: string }> {
  const state = await StateHarness.start();
  const config = state.config(["events"], { top: TOP, sink: DISK, isBrokerAway: true });
  writeFileSync(state.dir.file("a.log"), "");
  await fillBuffer(state, config, 0, [10, 10, 10]);
  await fillBuffer(state, config, 30, [10, 10]);
  await fillBuffer(state, config, 50, [10]);
  return { state, config };
}

describe("verify", () => {
  test("says of a good buffer what it has read", async () => {
    const { state, config } = await filled();
    await using _ = state;
    const { code, buffer, stderr } = await verify(state, config);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(buffer).toMatchObject({ isGood: true, segments: 3, events: 60, missingEvents: 0, problems: [] });
    // Each segment starts with a group without events.
    expect(buffer.groups).toBe(9);
    expect((await verifyText(state, config)).stdout).toBe(
      `Sink "events": 3 segments, 9 groups, 60 events in "${bufferDirOf(state)}": good\n`,
    );
  }, 60_000);

  test("names a group in the middle of a segment, and the events that it held", async () => {
    const { state, config } = await filled();
    await using _ = state;
    const place = eventPlaces(bufferDirOf(state))[1]!;
    flipBit(place.file, place.offset + 90);
    const { code, buffer } = await verify(state, config);
    expect(code).toBe(1);
    expect(buffer).toMatchObject({ isGood: false, events: 50, missingEvents: 10 });
    expect(buffer.problems).toEqual([{
      file: place.file,
      byte: place.groupAt,
      cause: "what is written there is not what was stored",
      missing: { from: 10, to: 20, count: 10 },
    }]);
    expect((await verifyText(state, config)).stdout).toBe(
      `Sink "events": 3 segments, 8 groups, 50 events in "${bufferDirOf(state)}": damaged\n` +
        `  "${place.file}", byte ${place.groupAt}: what is written there is not what was stored: events 10 to 19 are missing\n` +
        "  10 events are lost: shipper counts them (buffer_damaged) when it comes to them, and goes on\n",
    );
  }, 60_000);

  for (
    const { name, at, cause, from } of [
      {
        name: "of a segment: the next one says where it ended",
        at: 2,
        cause: "what is written there is not what was stored",
        from: 20,
      },
      {
        name: "of all: the journal says that more had been stored",
        at: -1,
        cause: "the buffer ends there, and more had been stored",
        from: 50,
      },
    ]
  ) {
    test(`names the last group ${name}`, async () => {
      const { state, config } = await filled();
      await using _ = state;
      const place = eventPlaces(bufferDirOf(state)).at(at)!;
      flipBit(place.file, place.offset + 90);
      const { code, buffer } = await verify(state, config);
      expect(code).toBe(1);
      expect(buffer.problems).toEqual([{
        file: place.file,
        byte: place.groupAt,
        cause,
        missing: { from, to: from + 10, count: 10 },
      }]);
    }, 60_000);
  }

  test("names a segment whose header is wrong, and one that is missing", async () => {
    const { state, config } = await filled();
    await using _ = state;
    const middle = segmentFile(state, 1);
    flipBit(middle, 20);
    const { code, buffer } = await verify(state, config);
    expect(code).toBe(1);
    expect(buffer.problems).toEqual([{
      file: middle,
      byte: 0,
      cause: "the checksum of its header is wrong",
      missing: { from: 30, to: 50, count: 20 },
    }]);
    rmSync(middle);
    const missing = await verify(state, config);
    expect(missing.code).toBe(1);
    expect(missing.buffer.problems).toEqual([{
      file: null,
      byte: 0,
      cause: "no file holds them",
      missing: { from: 30, to: 50, count: 20 },
    }]);
    expect((await verifyText(state, config)).stdout).toContain(
      "\n  events 30 to 49 are missing: no file holds them\n",
    );
    // All of it is gone.
    rmSync(bufferDirOf(state), { recursive: true });
    const gone = await verify(state, config);
    expect(gone).toMatchObject({ code: 1, buffer: { events: 0, missingEvents: 60 } });
  }, 60_000);

  test("misses nothing that is delivered: damage is damage, but nothing is lost by it", async () => {
    await using state = await StateHarness.start();
    const config = state.config(["events"], { top: TOP, sink: DISK });
    writeFileSync(state.dir.file("a.log"), linesOf(0, 20).map((line) => `${line}\n`).join(""));
    const host = new FakeProcess();
    const running = host.run(config);
    await until(() => state.kafka.values().length === 20, "all is delivered");
    appendFileSync(state.dir.file("a.log"), "more\n");
    await until(() => state.kafka.values().length === 21, "more is delivered");
    host.signal("SIGTERM");
    expect(await running).toBe(0);
    const place = eventPlaces(bufferDirOf(state))[0]!;
    flipBit(place.file, place.offset + 90);
    const { code, buffer } = await verify(state, config);
    expect(code).toBe(1);
    expect(buffer).toMatchObject({ missingEvents: 0, problems: [{ byte: place.groupAt, missing: null }] });
    const { stdout } = await verifyText(state, config);
    expect(stdout).toContain("; no event that is still wanted is missing by it\n");
    expect(stdout).toEndWith("  No event that is still wanted is missing\n");
  }, 60_000);

  test("works without a journal: every number that is skipped counts", async () => {
    const { state, config } = await filled();
    await using _ = state;
    rmSync(segmentFile(state, 1));
    flipBit(join(state.dataDir, "journal", journalSegment(state)), 4_200);
    const { code, buffer, stderr } = await verify(state, config);
    expect(code).toBe(1);
    expect(stderr).toStartWith("warning: Cannot use the journal: ");
    expect(stderr).toContain("; what is delivered is not known\n = hint: ");
    expect(buffer.problems.map(({ missing }) => missing)).toEqual([{ from: 30, to: 50, count: 20 }]);
  }, 60_000);
});

function journalSegment(state: StateHarness): string {
  return readdirSync(join(state.dataDir, "journal")).filter((name) => /^\d+\.seg$/u.test(name)).sort().at(
    -1,
  )!;
}
