import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lineNumber } from "../../bench/lib/arrivals.ts";
import { Feed } from "../../bench/lib/feed.ts";
import { guaranteeLabel } from "../../bench/lib/guarantee.ts";
import { LoopDisk, writtenSectors } from "../../bench/lib/loop_disk.ts";
import { readSeries } from "../../bench/lib/metrics_page.ts";
import { writePacedLines } from "../../bench/lib/paced_lines.ts";
import { resetPeak, residentBytes, writeBytes } from "../../bench/lib/proc.ts";
import { type ShipperSetup, writeShipperConfig } from "../../bench/lib/shipper_config.ts";
import type { Config, KafkaSinkConfig } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load.ts";
import { testIf } from "../support/skip.ts";
import { tempDir } from "../support/temp_dir.ts";

test("a series is found by its whole name, with and without labels", () => {
  const page = 'a_total{sink="k"} 3\na_total_more 9\nplain 1.5\nplain_more 2\n';
  expect(readSeries(page, "a_total")).toBe(3);
  expect(readSeries(page, "plain")).toBe(1.5);
  expect(readSeries(page, "a_tot")).toBeNull();
  expect(readSeries("", "plain")).toBeNull();
});

test("sectors written are the seventh figure of a block device", () => {
  expect(
    writtenSectors(
      "      59        0     2110        9        5        7      822        1        0        8\n",
    ),
  ).toBe(822);
});

test.each(
  [
    ["at_least_once", "at least once", { delivery: "at_least_once" }],
    ["process", "exactly once, process", { delivery: "exactly_once", durability: "process" }],
    ["machine", "exactly once, machine", { delivery: "exactly_once", durability: "machine" }],
  ] as const,
)("shipper is asked for the guarantee %p", async (guarantee, label, wanted) => {
  expect(guaranteeLabel(guarantee)).toBe(label);
  const sink = await sinkOf({ guarantee, keyField: "message" });
  expect(sink).toMatchObject({ ...wanted, keyField: "message", partitioner: "murmur2_random" });
});

test("without one shipper's default stands, and no keys", async () => {
  const sink = await sinkOf({});
  expect(sink).toMatchObject({ delivery: "exactly_once", durability: "machine", keyField: null });
});

test("without files shipper reads stdin, and a disk buffer has its limit", async () => {
  const config = await configOf({ bootstrap: "127.0.0.1:9092", topic: "t", diskBufferBytes: 300e6 });
  expect(config.sources[0]).toMatchObject({ type: "stdin" });
  expect(config.sinks[0]).toMatchObject({ buffer: { type: "disk", maxSizeBytes: 300e6 } });
});

test("a feed gives a file over and over, and does not end", async () => {
  await using dir = tempDir("feed");
  const path = dir.file("input");
  writeFileSync(path, "one\ntwo\n");
  const feed = await Feed.open(dir.path);
  const reader = Bun.spawn(["head", "-n", "7"], { stdin: feed.readFd, stdout: "pipe" });
  await feed.repeat({ path, sizeBytes: 8 }, 3);
  expect(reader.exitCode).toBeNull();
  await feed.repeat({ path, sizeBytes: 8 }, 1);
  expect(await new Response(reader.stdout).text()).toBe("one\ntwo\none\ntwo\none\ntwo\none\n");
  await expect(feed.repeat({ path: dir.file("none"), sizeBytes: 8 }, 1)).rejects.toThrow("cat ended with 1");
  feed.close();
});

async function sinkOf(options: Pick<ShipperSetup, "guarantee" | "keyField">): Promise<KafkaSinkConfig> {
  const setup = { bootstrap: "127.0.0.1:9092", topic: "t", include: ["/var/log/app.log"], ...options };
  return (await configOf(setup)).sinks[0] as KafkaSinkConfig;
}

async function configOf(setup: ShipperSetup): Promise<Config> {
  await using dir = tempDir("config");
  const path = writeShipperConfig(dir.path, setup);
  const context = { hostname: "edge-7", isRoot: true, home: "/root", xdgStateHome: undefined };
  const { config, diagnostics } = loadConfig([{ path, text: readFileSync(path, "utf8") }], {}, context);
  expect(diagnostics).toEqual([]);
  return config!;
}

testIf(
  LoopDisk.isPossible,
  "needs root",
  "a loop disk counts what is written to it, and is gone afterwards",
  async () => {
    await using dir = tempDir("loop");
    const disk = await LoopDisk.mount(dir.path);
    try {
      const before = await disk.writtenBytes();
      writeFileSync(join(disk.path, "file"), Buffer.alloc(1_000_000, 1));
      const written = await disk.writtenBytes() - before;
      expect(written).toBeGreaterThanOrEqual(1_000_000);
      expect(written).toBeLessThan(1_200_000);
    } finally {
      disk.remove();
    }
    expect(readFileSync("/proc/mounts", "utf8")).not.toContain(disk.path);
    expect(existsSync(join(dir.path, "disk.img"))).toBe(false);
  },
  60_000,
);

test("what this process writes to a disk is counted", () => {
  expect(writeBytes(process.pid)).toBeGreaterThanOrEqual(0);
  expect(writeBytes(2 ** 30)).toBeNull();
});

test("the peak of a process's memory can start anew", () => {
  let ballast: Buffer | null = Buffer.alloc(200e6, 1);
  const high = residentBytes(process.pid)!.peak;
  expect(ballast[1]).toBe(1);
  ballast = null;
  Bun.gc(true);
  resetPeak(process.pid);
  const { now, peak } = residentBytes(process.pid)!;
  expect(peak).toBeLessThan(high);
  expect(peak).toBeGreaterThanOrEqual(now);
});

test("paced lines carry their numbers, one write each, and hurry for nobody", async () => {
  await using dir = tempDir("paced");
  const file = dir.file("app.log");
  writeFileSync(file, "");
  const counts: number[] = [];
  const sentMs = await writePacedLines(file, 100, { first: 7, count: 5 }, (sent) => {
    counts.push(sent);
    return Promise.resolve();
  });
  const numbers = readFileSync(file, "utf8").trimEnd().split("\n").map(lineNumber);
  expect(numbers).toEqual([7, 8, 9, 10, 11]);
  expect(counts).toEqual([1, 2, 3, 4, 5]);
  expect(sentMs.at(-1)! - sentMs[0]!).toBeGreaterThanOrEqual(30);
});
