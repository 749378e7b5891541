import { DirectWriter } from "../../src/storage/group_writer.ts";
import type { SegmentedLogOptions } from "../../src/storage/log_options.ts";
import { SegmentedLog } from "../../src/storage/segmented_log.ts";
import { SimulatedFiles } from "./simulated_files.ts";
import { EventWriter, logOptions, readEvents } from "./support.ts";

export interface Opened {
  readonly files: SimulatedFiles;
  readonly log: SegmentedLog;
  readonly events: EventWriter;
  readonly problems: (string | null)[];
}

/** A log on simulated files; what was there is gone on from. */
export async function openLog(
  more: Partial<SegmentedLogOptions> = {},
  files = new SimulatedFiles(1, 4096),
): Promise<Opened> {
  const { found, next } = readEvents(files, more.kind);
  const events = new EventWriter(next);
  const problems: (string | null)[] = [];
  const onProblem = (cause: string | null) => void problems.push(cause);
  const options = logOptions(files, events, { writer: new DirectWriter(files), onProblem, ...more });
  return { files, events, problems, log: await SegmentedLog.open(options, found) };
}

/** Lets what runs in the background go on. */
export async function turns(count = 40): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Names of the segments in the folder, in order. */
export function numbered(files: SimulatedFiles): string[] {
  return files.list().filter((name) => /^\d/.test(name)).sort();
}
