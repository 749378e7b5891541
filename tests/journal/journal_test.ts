import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { POSITIONS_FILE } from "../../src/checkpoint/position_file.ts";
import { StartError } from "../../src/errors.ts";
import { Journal, type JournalOptions } from "../../src/journal/journal.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { MIGRATED_FILE } from "../../src/journal/migration.ts";
import { ByteEncoder } from "../../src/storage/byte_codec.ts";
import { DirectWriter } from "../../src/storage/group_writer.ts";
import { readLog } from "../../src/storage/log_reader.ts";
import { segmentName } from "../../src/storage/segment_format.ts";
import { SegmentedLog } from "../../src/storage/segmented_log.ts";
import { type StorageOps, systemOps } from "../../src/storage/storage_ops.ts";
import { recordOf } from "../checkpoint/journaled_positions.ts";
import { KeptLog } from "../kafka/producer_harness.ts";
import { silentLog } from "../kafka/support.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

const REPAIR =
  "shipper buffer repair --journal --config FILE sets the damage aside and goes on from what is readable";

let dir: TempDir;
beforeEach(() => {
  dir = tempDir("journal");
});
afterEach(() => dir.remove());

function options(more: Partial<JournalOptions> = {}): JournalOptions {
  return {
    dataDir: dir.path,
    durability: "process",
    machineId: "m1",
    dataDirInode: "1:2",
    onClonedState: "adopt",
    log: silentLog,
    segmentBytes: 65_536,
    ...more,
  };
}

async function startError(more: Partial<JournalOptions> = {}): Promise<StartError> {
  try {
    await (await Journal.open(options(more))).close(1_000);
  } catch (error) {
    if (error instanceof StartError) return error;
    throw error;
  }
  throw new Error("It started");
}

/** A journal of these frames, as a shipper with a mistake, or a newer one, might leave it. */
async function writeFrames(frames: readonly [type: number, payload: Buffer][]): Promise<void> {
  const path = dir.file("journal");
  const log = await SegmentedLog.open({
    dir: path,
    kind: "journal",
    segmentBytes: 65_536,
    durability: "process",
    log: silentLog,
    checkpoint: (add) => frames.forEach(([type, payload]) => add(type, payload)),
    onProblem: () => {},
  }, readLog(path, "journal", () => {}));
  await log.close(1_000);
}

function failingOps(names: readonly (keyof StorageOps)[], code: string): StorageOps {
  const fail = () => {
    throw Object.assign(new Error(`${code}: simulated`), { code });
  };
  return { ...systemOps, ...Object.fromEntries(names.map((name) => [name, fail])) };
}

const CHECKPOINT = 1;
const checkpoint = (version: number) =>
  Buffer.from(new ByteEncoder().uint8(version).varint(1).text("m1").text("1:2").bytes());

describe("a start that cannot use the journal says which file, why, and what to type", () => {
  test("damaged: a byte of a segment", async () => {
    await (await Journal.open(options())).close(1_000);
    const file = dir.file("journal", segmentName(1));
    const content = fs.readFileSync(file);
    content[4096 + 20]! ^= 1;
    fs.writeFileSync(file, content);
    const error = await startError();
    expect([error.code, error.exitCode, error.hint]).toEqual(["journal-damaged", 78, REPAIR]);
    expect(error.message).toStartWith(`Cannot use the journal: "${file}" is damaged at byte 4096: `);
    expect(fs.readFileSync(file).equals(content)).toBe(true);
  });

  test("damaged: frames that mean nothing", async () => {
    const path = dir.file("journal");
    for (
      const [frame, cause] of [
        [[99, Buffer.from("x")], "There is no frame of type 99"],
        [[3, Buffer.alloc(2)], "1 bytes are wanted at byte 2 of 2"],
        [[7, Buffer.alloc(3)], "1 bytes are wanted at byte 3 of 3"],
        [[4, Buffer.from([1, 1, 1, 0x7b])], "A stream's record is not JSON"],
        [[4, Buffer.from([1, 1, 2, 0x7b, 0x7d])], "A stream's record is incomplete"],
        [[8, Buffer.alloc(9, 0xff)], "A number ends nowhere at byte 8"],
        [[10, Buffer.from([0, 0, 0, 1])], "A replacement has bytes behind its end"],
      ] as const
    ) {
      fs.rmSync(path, { recursive: true, force: true });
      await writeFrames([[CHECKPOINT, checkpoint(1)], [frame[0], Buffer.from(frame[1])]]);
      const error = await startError();
      expect([error.code, error.exitCode, error.hint]).toEqual(["journal-damaged", 78, REPAIR]);
      expect(error.message).toMatch(
        /^Cannot use the journal: segment 1 of ".*\/journal" is damaged at byte \d+: /,
      );
      expect(error.message).toEndWith(`: ${cause}`);
    }
  });

  test("newer: a checkpoint, or a segment, of a version that comes later", async () => {
    await writeFrames([[CHECKPOINT, checkpoint(2)]]);
    const path = dir.file("journal");
    let error = await startError();
    expect([error.code, error.exitCode]).toEqual(["journal-newer", 78]);
    expect(error.message).toBe(
      `Cannot use the journal "${path}": it has version 2, which a newer shipper wrote`,
    );
    expect(error.hint).toBe(
      "run the newer shipper, or move the journal away to read every file anew from read_from",
    );
    const file = dir.file("journal", segmentName(1));
    const content = fs.readFileSync(file);
    const header = content.subarray(0, 128);
    header.writeUInt16LE(2, 12);
    header.writeUInt32LE(0, 8);
    header.writeUInt32LE(Bun.hash.crc32(header), 8);
    fs.writeFileSync(file, content);
    error = await startError();
    expect(error.code).toBe("journal-newer");
    expect(error.message).toBe(
      `Cannot use the journal "${file}": it has version 2, which a newer shipper wrote`,
    );
  });

  test("version 0 was never used", async () => {
    await writeFrames([[CHECKPOINT, checkpoint(0)]]);
    const error = await startError();
    expect(error.code).toBe("journal-damaged");
    expect(error.message).toEndWith("The journal has version 0, which was never used");
  });

  test("unreadable, unwritable", async () => {
    const path = dir.file("journal");
    let error = await startError({ ops: failingOps(["list"], "EACCES") });
    expect([error.code, error.message]).toEqual([
      "journal-unreadable",
      `Cannot read the journal in "${path}": EACCES`,
    ]);
    expect(error.hint).toBe("make it readable for the user that runs shipper");
    for (
      const [code, exitCode, hint] of [
        ["EACCES", 78, "make it writable for the user that runs shipper, or set data_dir to another folder"],
        ["EROFS", 78, "make it writable for the user that runs shipper, or set data_dir to another folder"],
        ["ENOSPC", 1, "free 1 MiB there, or set data_dir to another disk"],
        ["EDQUOT", 1, "free 1 MiB there, or set data_dir to another disk"],
      ] as const
    ) {
      const ops = failingOps(["write"], code);
      error = await startError({ ops, writer: new DirectWriter(ops) });
      expect([error.code, error.exitCode]).toEqual(["journal-unwritable", exitCode]);
      expect(error.message).toBe(`Cannot write the journal in "${path}": ${code}`);
      expect(error.hint).toBe(hint);
    }
  });
});

describe("a data_dir that is not where it was", () => {
  beforeEach(async () => {
    await (await Journal.open(options())).close(1_000);
  });

  for (
    const [what, more, text] of [
      ["another machine", { machineId: "m2" }, "was written by another machine"],
      ["a copy", { dataDirInode: "1:3" }, "is a copy, or was moved to another filesystem"],
    ] as const
  ) {
    test(`${what}: adopted with a warning, once, or refused`, async () => {
      const error = await startError({ ...more, onClonedState: "stop" });
      expect([error.code, error.exitCode]).toEqual(["cloned-data-dir", 78]);
      expect(error.message).toBe(
        `Cannot use data_dir "${dir.path}": it ${text}, and on_cloned_state is "stop"`,
      );
      for (const warnings of [1, 0]) {
        const log = new KeptLog();
        await (await Journal.open(options({ ...more, log }))).close(1_000);
        expect(log.texts("warn").filter((line) => line.includes(text))).toHaveLength(warnings);
      }
    });
  }

  test("a machine without an id tells nothing", async () => {
    const log = new KeptLog();
    await (await Journal.open(options({ machineId: "", onClonedState: "stop", log }))).close(1_000);
    await (await Journal.open(options({ onClonedState: "stop", log }))).close(1_000);
    expect(log.texts("warn")).toEqual([]);
  });
});

describe("positions of the first version", () => {
  const streams = [{ ...recordOf("x"), seenMs: 5, offsets: { a: 12 }, insideCutLine: { a: 11 } }];
  const document = (list: unknown, change: object = {}) => {
    const crc32 = Bun.hash.crc32(JSON.stringify(list)).toString(16).padStart(8, "0");
    return JSON.stringify({ version: 1, crc32, streams: list, ...change });
  };

  test("are taken over once: a crash before the journal is there leaves them, one afterwards reads the journal", async () => {
    const file = dir.file(POSITIONS_FILE);
    fs.writeFileSync(file, document(streams));
    const ops = failingOps(["write"], "EIO");
    expect((await startError({ ops, writer: new DirectWriter(ops) })).code).toBe("journal-unwritable");
    expect(fs.existsSync(file)).toBe(true);
    const log = new KeptLog();
    await (await Journal.open(options({ log }))).close(1_000);
    expect(log.texts("info")).toEqual([
      `Positions were taken over into the journal; "${file}" is kept as "${MIGRATED_FILE}"`,
    ]);
    // An old file that comes back is not read any more.
    fs.writeFileSync(file, document([{ ...streams[0], offsets: { a: 99 } }]));
    await (await Journal.open(options())).close(1_000);
    const { positions } = readJournal(dir.path);
    expect(positions.position("app", "x", "a")).toBe(12);
    expect(positions.ledger(positions.entryOf(1)!.stream(), "a", 0).isInsideCutLine(12)).toBe(false);
  });

  test("that are damaged stop the start, whatever the damage, and stay as they are", async () => {
    const file = dir.file(POSITIONS_FILE);
    const good = document(streams);
    const [stream] = streams;
    const cases = [
      [good.slice(0, -1), "it is not JSON"],
      ["[]", "it holds no object"],
      [document(streams, { version: 0 }), "its version is not a number that was ever used"],
      [document("none"), "it holds no list of streams"],
      [good.replace('"a":12', '"a":13'), "its checksum does not match its content"],
      [document([{ ...stream, seenMs: -1 }]), "entry 0 is incomplete"],
      [document([stream, { ...stream, ino: "x" }]), "entry 1 is incomplete"],
      [document([{ ...stream, offsets: { a: 0.5 } }]), "entry 0 is incomplete"],
    ] as const;
    for (const [text, cause] of cases) {
      fs.writeFileSync(file, text);
      const error = await startError();
      expect([error.code, error.exitCode]).toEqual(["positions-damaged", 78]);
      expect(error.message).toBe(`Cannot use the stored positions "${file}": ${cause}`);
      expect(error.hint).toEndWith(`mv ${file} ${file}.damaged`);
      expect(fs.readFileSync(file, "utf8")).toBe(text);
    }
    // No single flipped bit of a good file is taken for another position.
    for (let bit = 0; bit < good.length * 8; bit += 5) {
      const bytes = Buffer.from(good);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      fs.writeFileSync(file, bytes);
      const code = await startError().then((error) => error.code, () => "started");
      if (code !== "started") continue;
      expect(readJournal(dir.path).positions.position("app", "x", "a")).toBe(12);
      fs.rmSync(dir.file("journal"), { recursive: true });
    }
  });

  test("of a newer version are refused by name", async () => {
    const file = dir.file(POSITIONS_FILE);
    fs.writeFileSync(file, document(streams, { version: 2 }));
    const error = await startError();
    expect([error.code, error.message]).toEqual([
      "positions-newer",
      `Cannot read the stored positions "${file}": they have version 2, this shipper knows 1`,
    ]);
  });
});

test("where a sink starts to read is in the journal before the first batch of it", async () => {
  const journal = await Journal.open(options());
  journal.positions.put(recordOf("x"));
  journal.positions.startAt("app", "x", "a", 500);
  // A commit of somebody else; nothing waits for the timer.
  await journal.durable(false);
  expect(readJournal(dir.path).positions.position("app", "x", "a")).toBe(500);
  await journal.close(1_000);
});
