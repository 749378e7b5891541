import type { Ledger } from "../../src/checkpoint/ledger.ts";
import type { PositionStore } from "../../src/checkpoint/position_store.ts";
import { sumOf } from "../../src/checkpoint/totals.ts";
import { type JournalContent, readJournal } from "../../src/journal/journal_reader.ts";
import { DATA_DIR, ModelLane, verifyFiles } from "./model_run.ts";
import { keyOfIntent, type ModelSink, SINKS, valueOf, type World } from "./model_world.ts";

/** More than a file of the model can have. */
const EVERYTHING = 1 << 20;

/**
 * Reads what a crash left, and holds it against files and topics: every line is read again, or in a batch in doubt, or done with, and only
 * one of them. Nothing is changed by it.
 */
export async function checkRestart(world: World): Promise<void> {
  for (const sink of SINKS) {
    const content = readJournal(DATA_DIR, { ops: world.disk });
    verifyFiles(world, content.positions, sink.name);
    const inDoubt = sink.isExact ? await valuesInDoubt(world, sink, content) : new Map<string, boolean>();
    const again = valuesReadAgain(world, sink, content.positions);
    const delivered = world.delivered.get(sink.name)!;
    const problems: string[] = [];
    for (const [value, count] of again) {
      if (count > 1) problems.push(`"${value}" is read twice`);
      if (inDoubt.has(value)) problems.push(`"${value}" is read again and in doubt`);
      if (sink.isExact && delivered.has(value)) problems.push(`"${value}" is read again and delivered`);
    }
    const known = new Set(content.positions.records("app").map(({ id }) => id));
    for (const { lines, stream, isRotatedAway } of world.files) {
      for (const value of isRotatedAway && !known.has(stream.id) ? [] : lines.map(valueOf)) {
        if (again.has(value) || inDoubt.has(value) || delivered.has(value)) continue;
        if (!world.excused.get(sink.name)!.has(value)) problems.push(`"${value}" is skipped`);
      }
    }
    if (sink.isExact) problems.push(...wrongTotals(content.positions, sink.name, liveCounts(content, sink)));
    if (problems.length > 0) {
      throw new Error(`Sink "${sink.name}" after a restart: ${problems.slice(0, 5).join("; ")}`);
    }
  }
}

/** At the end of all: every line arrived once, unless it was given up. */
export function checkEnd(world: World, positions: PositionStore): void {
  for (const { name, isExact } of SINKS) {
    const delivered = new Map(world.delivered.get(name)!);
    const excused = world.excused.get(name)!;
    const problems: string[] = [];
    for (const { lines } of world.files) {
      for (const value of lines.map(valueOf)) {
        const count = delivered.get(value) ?? 0;
        delivered.delete(value);
        if (count === 0 && !excused.has(value)) problems.push(`"${value}" is lost`);
        if (count > 1 && isExact) problems.push(`"${value}" came ${count} times`);
      }
    }
    for (const [value, count] of delivered) {
      if (!excused.has(value)) problems.push(`"${value}" was never written`);
      if (count > 1 && isExact) problems.push(`"${value}", which was cut off, came ${count} times`);
    }
    if (isExact) problems.push(...wrongTotals(positions, name, new Map()));
    if (problems.length > 0) throw new Error(`Sink "${name}" at the end: ${problems.slice(0, 5).join("; ")}`);
  }
}

/** covered = delivered + live + dropped + lost, for each ledger of the sink. */
export function wrongTotals(
  positions: PositionStore,
  sink: string,
  live: ReadonlyMap<number, number>,
): string[] {
  const problems: string[] = [];
  for (const entry of positions.entries()) {
    const ledger: Ledger | undefined = entry.ledgers.get(sink);
    if (ledger === undefined) continue;
    const { coveredCount, deliveredCount, dropped, lost } = ledger.totals;
    const liveCount = live.get(entry.number) ?? 0;
    const sum = deliveredCount + liveCount + sumOf(dropped) + sumOf(lost);
    if (coveredCount === sum) continue;
    problems.push(
      `${entry.record.id}: covered ${coveredCount}, delivered ${deliveredCount}, live ${liveCount}, ` +
        `dropped ${sumOf(dropped)}, lost ${sumOf(lost)}`,
    );
  }
  return problems;
}

function liveCounts(content: JournalContent, sink: ModelSink): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { intent: { sinkNumber, segments } } of content.live.values()) {
    if (content.positions.sinkName(sinkNumber) !== sink.name) continue;
    for (const { streamNumber, lineCount } of segments) {
      counts.set(streamNumber, (counts.get(streamNumber) ?? 0) + lineCount);
    }
  }
  return counts;
}

/** Values of batches in doubt, and whether the cluster has them. */
function valuesInDoubt(world: World, sink: ModelSink, content: JournalContent): Map<string, boolean> {
  const found = new Map<string, boolean>();
  for (const live of content.live.values()) {
    const { segments, sinkNumber, runNumber } = live.intent;
    if (content.positions.sinkName(sinkNumber) !== sink.name) continue;
    const isWritten = world.has(keyOfIntent(sink.name, live, content.runs.get(runNumber)!.producerIdLow));
    for (const { streamNumber, info, runs } of segments) {
      const id = content.positions.entryOf(streamNumber)?.record.id;
      const file = world.files.find(({ stream }) => stream.id === id);
      if (file === undefined) throw new Error(`Stream ${streamNumber} of a batch in doubt is forgotten`);
      const data = file.content.subarray(info.startOffset, info.endOffset);
      // Its file was cut off in front of it.
      if (data.length !== info.endOffset - info.startOffset || Bun.hash.crc32(data) !== info.crc32) continue;
      const values = linesOf(data, info.startsInsideCutLine);
      for (let i = 0, line = 0; i < runs.length; i += 2) {
        line += runs[i]!;
        for (let left = runs[i + 1]!; left > 0; left--, line++) {
          const value = values[line]!;
          if (found.has(value)) throw new Error(`"${value}" is in two batches in doubt`);
          found.set(value, isWritten);
        }
      }
    }
  }
  for (const [value, isWritten] of found) {
    if (isWritten !== world.delivered.get(sink.name)!.has(value)) {
      throw new Error(`"${value}" was delivered by another batch than the one in doubt`);
    }
  }
  return found;
}

function linesOf(data: Buffer, startsInsideCutLine: boolean): string[] {
  const lines = data.toString("latin1").split("\n");
  if (lines.at(-1) === "") lines.pop();
  if (startsInsideCutLine) lines.shift();
  return lines.map(valueOf);
}

/** What a run that starts now reads for the sink. */
function valuesReadAgain(world: World, sink: ModelSink, positions: PositionStore): Map<string, number> {
  const lane = new ModelLane({ ...sink, whenFull: "block" }, positions, EVERYTHING);
  const found = new Map<string, number>();
  for (const file of world.files) {
    const record = positions.records("app").find(({ id }) => id === file.stream.id);
    if (record === undefined) {
      if (file.isRotatedAway) continue;
      positions.put(file.record);
    }
    while (lane.read(file, positions, EVERYTHING) > 0);
  }
  while (lane.take());
  for (const { values } of lane.pending) {
    for (const value of values) found.set(value, (found.get(value) ?? 0) + 1);
  }
  return found;
}
