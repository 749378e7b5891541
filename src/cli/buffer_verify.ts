import type { BufferProblem } from "../buffer/walk_problems.ts";
import { decodeEvents, originOf, type StoredEvents } from "../buffer/stored_events.ts";
import { BufferPool, unpooled } from "../event/pooled_buffer.ts";
import type { WalkedSegment } from "../buffer/buffer_walk.ts";
import { type StorageOps, systemOps } from "../storage/storage_ops.ts";
import { type EventBatch, releaseBatch } from "../event/event_batch.ts";
import { countOf, formatCount, nounOf } from "../telemetry/format.ts";
import { snakeCaseKeys } from "../telemetry/json_keys.ts";
import type { JournalContent } from "../journal/journal_reader.ts";
import type { LookAtBuffersArgs } from "./args.ts";
import { type BufferFolder, bufferFolders, labelOf, readJournalIfGood, walkStored } from "./buffer_state.ts";
import { type CommandContext, withConfig } from "./command_context.ts";
import { printable } from "../telemetry/printable.ts";

const EXIT_DAMAGED = 1;
/** Problems that are listed, of each buffer; a disk that is broken gives one for every block. */
const PROBLEMS_MAX = 1_000;

/** What is wrong with a disk buffer, as `--json` prints it. */
export interface VerifiedBuffer extends BufferFolder {
  readonly isGood: boolean;
  readonly segments: number;
  readonly groups: number;
  /** That are there, delivered ones too. */
  readonly events: number;
  /** Not delivered, and in no file: for good. */
  readonly missingEvents: number;
  readonly problems: readonly BufferProblem[];
  readonly unlistedProblems: number;
}

/**
 * `shipper buffer verify`: reads every group and frame of the disk buffers, and looks for events that should be there. Writes nothing, and works while a
 * shipper runs. Returns the exit code: 0 when all is good, 1 when not.
 */
export async function verifyBuffers(args: LookAtBuffersArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const folders = bufferFolders(config, args.sink);
    const content = folders.length === 0 ? null : await readJournalIfGood(config.dataDir, context);
    const buffers = folders.map((folder) => verify(folder, config.dataDir, content).buffer);
    const isGood = buffers.every((each) => each.isGood);
    context.stdout(
      args.json
        ? `${JSON.stringify(snakeCaseKeys({ dataDir: config.dataDir, isGood, buffers }), null, 2)}\n`
        : buffers.length === 0
        ? `There is no disk buffer in "${config.dataDir}"\n`
        : buffers.map(text).join(""),
    );
    return isGood ? 0 : EXIT_DAMAGED;
  });
}

/** Reads all of a buffer. Throws `StartError` as `walkStored` does. */
export function verify(
  folder: BufferFolder,
  dataDir: string,
  content: JournalContent | null,
  ops: StorageOps = systemOps,
): { readonly buffer: VerifiedBuffer; readonly segments: readonly WalkedSegment[] } {
  const pool = new BufferPool();
  const problems: BufferProblem[] = [];
  let missingEvents = 0;
  const { segments, eventCount, problemCount } = walkStored(folder, dataDir, content, {
    onProblem(problem) {
      missingEvents += problem.missing?.count ?? 0;
      if (problems.length < PROBLEMS_MAX) problems.push(problem);
    },
    onEvents: (_fates, stored) => void decoded(stored, pool, () => {}),
  }, ops);
  const buffer: VerifiedBuffer = {
    ...folder,
    isGood: problemCount === 0,
    segments: segments.length,
    groups: segments.reduce((sum, each) => sum + each.groupCount, 0),
    events: eventCount,
    missingEvents,
    problems,
    unlistedProblems: problemCount - problems.length,
  };
  return { buffer, segments };
}

/** Hands over the events of a frame, for the time of the call. Throws `CodecError` when they are not what is written here. */
export function decoded<T>(stored: StoredEvents, pool: BufferPool, use: (batch: EventBatch) => T): T {
  const origin = originOf(stored);
  const window = unpooled(stored.data);
  const batch = decodeEvents(stored, origin, origin.stream, window, pool);
  try {
    return use(batch);
  } finally {
    releaseBatch(batch);
    batch.rawEndsOwner?.release();
    window.release();
  }
}

function text(buffer: VerifiedBuffer): string {
  const { dir, segments, groups, events, isGood, problems, unlistedProblems, missingEvents } = buffer;
  const head = `Sink "${printable(labelOf(buffer))}": ${countOf(segments, "segment")}, ${
    countOf(groups, "group")
  }, ${formatCount(events)} ${nounOf(events, "event")} in "${printable(dir)}": ${
    isGood ? "good" : "damaged"
  }\n`;
  if (isGood) return head;
  const lines = problems.map((problem) => `  ${describeProblem(problem)}\n`);
  if (unlistedProblems > 0) lines.push(`  and ${formatCount(unlistedProblems)} more\n`);
  lines.push(
    missingEvents === 0
      ? "  No event that is still wanted is missing\n"
      : `  ${formatCount(missingEvents)} ${
        nounOf(missingEvents, "event is", "events are")
      } lost: shipper counts them (buffer_damaged) when it comes to them, and goes on\n`,
  );
  return head + lines.join("");
}

/** '"/…/0000000000000002.seg", byte 4096: the checksum of its header is wrong: events 100 to 163 are missing (64)'. */
export function describeProblem({ file, byte, cause, missing }: BufferProblem): string {
  const place = file === null ? "" : `"${printable(file)}", byte ${byte}: `;
  if (missing === null) return `${place}${cause}; no event that is still wanted is missing by it`;
  const { from, to, count } = missing;
  const events = `events ${from} to ${to - 1} are missing${
    count === to - from ? "" : ` where they are still wanted (${count})`
  }`;
  return file === null ? `${events}: ${cause}` : `${place}${cause}: ${events}`;
}
