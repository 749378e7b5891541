import fs from "node:fs";
import path from "node:path";
import { RESCUE_FOLDER } from "../../src/source/rescue_index.ts";
import { type RescueOps, systemRescueOps } from "../../src/source/rescue_ops.ts";
import { type Bench, numbered, type Running, type RunOptions, until } from "./harness.ts";

export const MIB = 1_048_576;
const RESCUE = { rescueSizeBytesMax: 64 * MIB };
/** Room on the disk, whatever the one under the tests has. */
export const roomyOps: RescueOps = {
  ...systemRescueOps,
  space: () => Promise.resolve({ freeBytes: 1024 * MIB, totalBytes: 2048 * MIB }),
};

export function start(bench: Bench, options: RunOptions = {}): Promise<Running> {
  return bench.start({ ...RESCUE, rescueOps: roomyOps, ...options });
}

export function copiesIn(bench: Bench): string[] {
  const dir = path.join(bench.dataDir, RESCUE_FOLDER);
  return fs.existsSync(dir) ? fs.readdirSync(dir) : [];
}

export function rescuedFile(bench: Bench, suffix: ".data" | ".index"): string {
  return path.join(bench.dataDir, RESCUE_FOLDER, copiesIn(bench).find((name) => name.endsWith(suffix))!);
}

/** Ships 30 lines of 1000, loses the file by `lose`, waits until the rest is copied, and is killed. */
export async function killAfter(bench: Bench, lose: () => void, options: RunOptions = {}): Promise<Running> {
  bench.write("a.log", numbered("line", 1_000));
  const run = await start(bench, { rooms: [30], ...options });
  await run.outlet.untilCount(30);
  lose();
  const bytes = numbered("line", 1_000).length - numbered("line", 30).length;
  await until(() => run.rescue!.heldBytes() === bytes);
  await run.kill();
  return run;
}
