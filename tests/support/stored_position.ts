import { statSync } from "node:fs";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { waitUntil } from "./wait_until.ts";

/** Where the sink is in the only file that is stored of the source: every byte in front of it is delivered or given up. */
export function storedPosition(dataDir: string, source: string, sink: string): number | null {
  const { positions } = readJournal(dataDir);
  const records = positions.records(source);
  if (records.length !== 1) throw new Error(`${records.length} files of source "${source}" are stored`);
  return positions.position(source, records[0]!.id, sink);
}

/** Resolves when every byte of the source's only file was acknowledged by the brokers, and that is stored. */
export async function waitUntilStored(
  dataDir: string,
  file: string,
  source = "in",
  sink = "out",
): Promise<void> {
  await waitUntil(
    `the position of "${file}" is stored`,
    () => storedPosition(dataDir, source, sink) === statSync(file).size,
    { pollMs: 20 },
  );
}
