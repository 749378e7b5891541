import { describe, expect, test } from "bun:test";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repairDiskBuffer } from "../../src/cli/disk_buffer_repair.ts";
import { acquireDataDir } from "../../src/checkpoint/data_dir_lock.ts";
import { type StorageOps, systemOps } from "../../src/storage/storage_ops.ts";
import { flipBit } from "../support/journal_damage.ts";
import {
  bufferDirOf,
  damagedFiles,
  DISK,
  eventPlaces,
  fillBuffer,
  linesOf,
  segmentFile,
  verify,
} from "./buffer_harness.ts";
import { FakeProcess } from "./fake_process.ts";
import { StateHarness } from "./state_harness.ts";

const TOP = "shutdown_timeout_secs = 0.2";

function repair(state: StateHarness, config: string, ops: StorageOps = systemOps) {
  return state.call(
    (args: Parameters<typeof repairDiskBuffer>[0], context) => repairDiskBuffer(args, context, ops),
    {
      command: "buffer repair --sink",
      configPaths: [config],
      sink: "events",
    },
  );
}

async function filled(): Promise<{ state: StateHarness; config: string }> {
  const state = await StateHarness.start();
  const config = state.config(["events"], { top: TOP, sink: DISK });
  const away = state.config(["events"], { top: TOP, sink: DISK, isBrokerAway: true });
  writeFileSync(state.dir.file("a.log"), "");
  await fillBuffer(state, away, 0, [10, 10, 10]);
  await fillBuffer(state, away, 30, [10]);
  await fillBuffer(state, away, 40, [10]);
  return { state, config };
}

describe("buffer repair --sink", () => {
  test("leaves a good buffer alone, and one that is not there", async () => {
    const { state, config } = await filled();
    await using _ = state;
    expect(await repair(state, config)).toEqual({
      code: 0,
      stdout: 'The disk buffer of sink "events" is not damaged: nothing to repair\n',
      stderr: "",
    });
    await using empty = await StateHarness.start();
    expect((await repair(empty, empty.config(["events"], { sink: DISK }))).stdout).toBe(
      'There is no disk buffer of sink "events" yet: nothing to repair\n',
    );
    expect(existsSync(empty.dataDir)).toBe(false);
  }, 60_000);

  test("moves a file that cannot be used, says what is lost, and the next run counts it", async () => {
    const { state, config } = await filled();
    await using _ = state;
    const file = segmentFile(state, 1);
    flipBit(file, 20);
    const { code, stdout, stderr } = await repair(state, config);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [aside] = damagedFiles(state);
    expect(stdout).toBe(
      `"${file}", byte 0: the checksum of its header is wrong: events 30 to 39 are missing\n` +
        `Set aside: ${join(bufferDirOf(state), "damaged", aside!)}\n` +
        "10 events are lost: the next run counts them (buffer_damaged), and ends with exit code 1\n" +
        "1 file in damaged/ can be removed when nobody wants to look at them\n",
    );
    expect(existsSync(file)).toBe(false);
    const host = new FakeProcess();
    expect(await host.run(config, { once: true })).toBe(1);
    expect(host.logged("error").map(({ message }) => message).join("\n")).toContain("Lost 10 events");
    expect(state.kafka.values()).toEqual([...linesOf(0, 30), ...linesOf(40, 50)]);
    expect(await verify(state, config)).toMatchObject({ code: 0 });
  }, 90_000);

  test("moves nothing where a file is only damaged in a place", async () => {
    const { state, config } = await filled();
    await using _ = state;
    const place = eventPlaces(bufferDirOf(state))[1]!;
    flipBit(place.file, place.offset + 90);
    const { stdout } = await repair(state, config);
    expect(stdout).toContain("events 10 to 19 are missing\nNothing had to be moved: ");
    expect(damagedFiles(state)).toEqual([]);
    expect(await new FakeProcess().run(config, { once: true })).toBe(1);
    expect(state.kafka.values()).toEqual([...linesOf(0, 10), ...linesOf(20, 50)]);
  }, 90_000);

  test("puts a copy of what the device gives in the place of a file that it gives in part", async () => {
    const { state, config } = await filled();
    await using _ = state;
    const place = eventPlaces(bufferDirOf(state))[1]!;
    const { file, groupAt } = place;
    const before = readFileSync(file);
    const { code, stdout, stderr } = await repair(state, config, withBadBlock(file, groupAt));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toStartWith(
      `"${file}", byte ${groupAt}: it cannot be read (EIO): events 10 to 19 are missing\nSet aside: `,
    );
    const [aside] = damagedFiles(state);
    expect(readFileSync(join(bufferDirOf(state), "damaged", aside!)).equals(before)).toBe(true);
    const after = readFileSync(file);
    expect(after.length).toBe(before.length);
    expect(after.subarray(groupAt, groupAt + 4096).every((byte) => byte === 0)).toBe(true);
    expect(after.subarray(0, groupAt).equals(before.subarray(0, groupAt))).toBe(true);
    expect(after.subarray(groupAt + 4096).equals(before.subarray(groupAt + 4096))).toBe(true);
    expect(await new FakeProcess().run(config, { once: true })).toBe(1);
    expect(state.kafka.values()).toEqual([...linesOf(0, 10), ...linesOf(20, 50)]);
  }, 90_000);

  test("is refused while a shipper has data_dir, and says so when a file cannot be set aside", async () => {
    const { state, config } = await filled();
    await using _ = state;
    flipBit(segmentFile(state, 1), 20);
    const lock = acquireDataDir(state.dataDir);
    expect(await repair(state, config)).toMatchObject({
      code: 78,
      stderr: expect.stringContaining(`process ${process.pid} is using it`),
    });
    lock.release();
    writeFileSync(join(bufferDirOf(state), "damaged"), "a file");
    const refused = await repair(state, config);
    expect(refused.code).toBe(78);
    expect(refused.stderr).toContain("error[buffer-");
    expect(existsSync(segmentFile(state, 1))).toBe(true);
  }, 60_000);

  test("of the newest file: its numbers are not given again, and what is lost is counted", async () => {
    const { state, config } = await filled();
    await using _ = state;
    flipBit(segmentFile(state, -1), 20);
    expect((await repair(state, config)).stdout).toContain("events 40 to 49 are missing\n");
    appendFileSync(state.dir.file("a.log"), "the last\n");
    const host = new FakeProcess();
    expect(await host.run(config, { once: true })).toBe(1);
    expect(state.kafka.values()).toEqual([...linesOf(0, 40), "the last"]);
    expect(host.logged("error").map(({ message }) => message).join("\n")).toContain("Lost 10 events");
  }, 90_000);
});

/** Reads that touch this block of the file fail. */
function withBadBlock(file: string, block: number): StorageOps {
  const fds = new Set<number>();
  const ops = systemOps;
  return {
    ...ops,
    openRead(path) {
      const fd = ops.openRead(path);
      if (path === file) fds.add(fd);
      return fd;
    },
    read(fd, target, offset, length, position) {
      if (fds.has(fd) && position < block + 4096 && position + length > block) {
        throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
      }
      return ops.read(fd, target, offset, length, position);
    },
    close(fd) {
      fds.delete(fd);
      ops.close(fd);
    },
  };
}
