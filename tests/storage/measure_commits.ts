import fs from "node:fs";
import { join } from "node:path";
import { readLog } from "../../src/storage/log_reader.ts";
import type { Durability } from "../../src/storage/log_options.ts";
import { SegmentedLog } from "../../src/storage/segmented_log.ts";
import { tempDir } from "../support/temp_dir.ts";
import { silentLog } from "./support.ts";

/*
 * By hand only: bun tests/storage/measure_commits.ts [machine|process] [bytes] [commits]. How long commits take and what they cost the
 * device (as the kernel counts it for the whole machine: run it on a quiet one).
 */
const durability = (process.argv[2] ?? "machine") as Durability;
const sizeBytes = Number(process.argv[3] ?? 200);
const commits = Number(process.argv[4] ?? 3_000);

using dir = tempDir("measure");
const path = dir.file("log");
const device = fs.statSync(dir.path).dev;
const log = await SegmentedLog.open({
  dir: path,
  kind: "journal",
  segmentBytes: 8 * 1_048_576,
  durability,
  log: silentLog,
  checkpoint: (add) => add(1, Buffer.alloc(1_000)),
  onProblem: (cause) => console.log(cause),
}, readLog(path, "journal", () => {}));

await run(Math.min(1_000, commits)); // the first segments, and the zeros of the next
for (let round = 0; round < 3; round++) {
  const before = writtenSectors();
  const startMs = performance.now();
  const times = await run(commits);
  const seconds = (performance.now() - startMs) / 1_000;
  const written = (writtenSectors() - before) * 512;
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)].toFixed(3);
  console.log(
    `${durability}, ${sizeBytes} bytes: ${(commits / seconds).toFixed(0)} commits/s, ` +
      `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(0.9999)} ms, ${
        (written / commits).toFixed(0)
      } device bytes a commit`,
  );
}
await log.close(5_000);
const names = fs.readdirSync(path).map((name) => `${name} ${fs.statSync(join(path, name)).size}`);
console.log(names.join(", "));

async function run(count: number): Promise<number[]> {
  const payload = Buffer.alloc(sizeBytes, 7);
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    log.append(2, payload);
    const startMs = performance.now();
    await log.commit();
    times.push(performance.now() - startMs);
  }
  return times;
}

/** Of the device that the folder is on. 0 when the kernel does not tell. */
function writtenSectors(): number {
  const [major, minor] = [(device >> 8) & 0xfff, device & 0xff];
  for (const line of fs.readFileSync("/proc/diskstats", "utf8").split("\n")) {
    const fields = line.trim().split(/\s+/);
    if (Number(fields[0]) === major && Number(fields[1]) === minor) return Number(fields[9]);
  }
  return 0;
}
