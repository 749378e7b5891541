import { readLog } from "../../src/storage/log_reader.ts";
import type { Durability } from "../../src/storage/log_options.ts";
import { SegmentedLog } from "../../src/storage/segmented_log.ts";
import { EventReader, EventWriter, silentLog } from "./support.ts";

/*
 * Appends and commits numbered events until it is killed, and prints how many are committed. Arguments: folder, durability. First it reads
 * what is there, and prints how many that are.
 */
const [dir, durability] = process.argv.slice(2) as [string, Durability];
const reader = new EventReader();
const found = readLog(dir, "journal", ({ type, payload }) => reader.onFrame(type, payload));
const events = new EventWriter(Math.max(0, reader.next));
const print = (word: string, count: number) => process.stdout.write(`${word} ${count}\n`);
print("found", events.next);
const log = await SegmentedLog.open({
  dir,
  kind: "journal",
  segmentBytes: 524_288,
  durability,
  log: silentLog,
  checkpoint: events.checkpoint,
  onProblem: (cause) => print(`problem ${cause}`, 0),
}, found);
for (;;) {
  events.append(log, 1 + events.next % 5);
  const count = events.next;
  const committed = log.commit().then(() => print("committed", count));
  if (count % 4 !== 0) await committed;
}
