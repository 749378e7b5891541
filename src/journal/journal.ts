import path from "node:path";
import type { PositionStore } from "../checkpoint/position_store.ts";
import { errnoName, EXIT_CONFIG, StartError } from "../errors.ts";
import type { HeldLines } from "../event/tracked_region.ts";
import type { ProducerNumbers } from "../kafka/batch_header.ts";
import type { GoneEvents, NewIntent } from "../kafka/intent_log.ts";
import { ByteEncoder } from "../storage/byte_codec.ts";
import type { Durability } from "../storage/log_options.ts";
import { SegmentedLog } from "../storage/segmented_log.ts";
import type { GroupWriter } from "../storage/group_writer.ts";
import type { StorageOps } from "../storage/storage_ops.ts";
import { crashPoint } from "../telemetry/crash_point.ts";
import type { Log } from "../telemetry/log.ts";
import { GONE_KINDS, JournalFrame, type RunFrame, writeCheckpoint, writeRun } from "./frames.ts";
import { readIntent, writeIntent } from "./intent_frames.ts";
import {
  inOrder,
  JOURNAL_FOLDER,
  type JournalContent,
  type LiveIntent,
  newestFirst,
  readJournal,
  takeRegions,
} from "./journal_reader.ts";
import { LiveIntents } from "./live_intents.ts";
import { migratePositions, setMigratedAside } from "./migration.ts";
import { checkOrigin } from "./origin.ts";
import { heldLines, type Rebuild, SinkJournal } from "./sink_journal.ts";

/** Usual size of a segment: every byte of a new one is written with zeros once, and a checkpoint begins each. */
export const JOURNAL_SEGMENT_BYTES = 1_048_576;
/** Intents of a sink that are not acknowledged may take so much; its batches are held back beyond. */
export const LIVE_BYTES_MAX = 1_048_576;
/** Acknowledgements are written this much later, when nothing else is written before: they only save work after a crash. */
const ACK_DELAY_MS = 1_000;
/** A start without room: other than with 78, whoever supervises the process tries again. */
const EXIT_NO_ROOM = 1;

export interface JournalOptions {
  /** Locked by the caller (`acquireDataDir`). */
  readonly dataDir: string;
  readonly durability: Durability;
  /** Of this host; "" where it has none. */
  readonly machineId: string;
  /** "dev:ino:birthtime" of data_dir. */
  readonly dataDirInode: string;
  readonly onClonedState: "adopt" | "stop";
  readonly log: Log;
  readonly now?: () => number;
  readonly segmentBytes?: number;
  /** Something else fills the disk (a disk buffer), and the journal has to go on all the same. */
  readonly keepsSpare?: boolean;
  /** Default: LIVE_BYTES_MAX. */
  readonly liveBytesMax?: number;
  readonly ops?: StorageOps;
  /** See `SegmentedLogOptions.writer`: what writes with `ops`, when those are not the system's. */
  readonly writer?: GroupWriter;
}

/**
 * Intents, acknowledgements and positions of all sinks, in one log: the one source of truth of what was read and what became of it. All of
 * it is in memory too, so that a checkpoint can be written at any time.
 */
export class Journal {
  readonly positions: PositionStore;
  /** What was there at the start. */
  readonly content: JournalContent;
  readonly #options: JournalOptions;
  readonly #segmentBytes: number;
  readonly #live = new LiveIntents();
  readonly #runs = new Map<number, RunFrame>();
  /** Batches of sinks that were reopened, as they were then. */
  readonly #reopened = new Map<string, readonly LiveIntent[]>();
  readonly #out = new ByteEncoder();
  readonly #part = new ByteEncoder();
  #nextBatchId: number;
  #nextRunNumber: number;
  #log: SegmentedLog | null = null;
  #failure: string | null = null;
  #closing: Promise<boolean> | null = null;

  private constructor(options: JournalOptions, content: JournalContent) {
    this.#options = options;
    this.#segmentBytes = options.segmentBytes ?? JOURNAL_SEGMENT_BYTES;
    this.content = content;
    this.positions = content.positions;
    this.#nextBatchId = content.nextBatchId;
    this.#nextRunNumber = content.nextRunNumber;
    for (const [number, run] of content.runs) this.#runs.set(number, run);
    for (const [id, live] of content.live) {
      const { intent, payload } = live;
      const held = heldLines(live);
      this.#live.remember(id, { payload, sinkNumber: intent.sinkNumber, runNumber: intent.runNumber, held });
    }
    this.positions.isNeeded = (stream) => this.#live.names(stream);
  }

  /**
   * Reads what is there, takes over positions of the first version, and starts a new segment. Throws `StartError`: see `readJournal`, and
   * "journal-unwritable", "cloned-data-dir".
   */
  static async open(options: JournalOptions): Promise<Journal> {
    const content = readJournal(options.dataDir, options);
    if (content.checkpoint === null) migratePositions(options.dataDir, content.positions);
    checkOrigin(content, options);
    for (const note of content.found.notes) options.log.warn(note);
    const journal = await Journal.goOn(options, content);
    setMigratedAside(options.dataDir, options.log);
    return journal;
  }

  /** Starts a new segment that holds `content`, whatever else is in the folder. Throws `StartError` "journal-unwritable". */
  static async goOn(options: JournalOptions, content: JournalContent): Promise<Journal> {
    const journal = new Journal(options, content);
    await journal.#start();
    return journal;
  }

  /** The journal as one sink sees it. `rebuild` makes a recovered batch again. */
  intentsOf(sink: string, rebuild: Rebuild, isSynced: boolean): SinkJournal {
    return new SinkJournal(this, sink, rebuild, isSynced);
  }

  /** Batches of a sink that were open when the process started, or when the sink was reopened, in the order in which they go out. */
  openOf(sink: string): readonly LiveIntent[] {
    const all = this.#reopened.get(sink) ?? [...this.content.live.values()];
    return all.filter(({ intent }) => this.positions.sinkName(intent.sinkNumber) === sink);
  }

  /** The producer id that intents name by this number; null where it was not known. */
  runOf(number: number): RunFrame | null {
    return this.#runs.get(number) ?? null;
  }

  /**
   * The sink starts anew while the process goes on, and nobody works for it now: its batches that are neither acknowledged nor replaced are open as
   * after a restart, and so are the lines that are in none.
   */
  reopenSink(sink: string): void {
    if (!this.positions.sinkNames().includes(sink)) return;
    const number = this.positions.sinkNumber(sink);
    this.positions.reopenSink(sink);
    const open = new Map<number, LiveIntent>();
    for (const [id, { payload, sinkNumber }] of this.#live.entries()) {
      if (sinkNumber === number) open.set(id, { intent: readIntent(payload), payload, regions: [] });
    }
    const ordered = inOrder(open);
    for (const each of newestFirst(ordered)) {
      takeRegions(this.positions, each);
      this.#live.setHeld(each.intent.id, heldLines(each));
    }
    this.#reopened.set(sink, [...ordered.values()]);
  }

  /**
   * The sink writes no intents any more: lines of batches that an earlier run left open are read again, and may arrive twice. Called before
   * anything is read.
   */
  readAgain(sink: string): void {
    const ids: number[] = [];
    for (const { intent, regions } of this.openOf(sink)) {
      if (this.#live.get(intent.id) === undefined) continue;
      intent.segments.forEach(({ runs }, i) => regions[i]?.uncover(runs));
      ids.push(intent.id);
    }
    if (ids.length === 0) return;
    const { log } = this.#options;
    log.warn(
      `Sink "${sink}" delivers at least once now: ${ids.length} batch(es) that were being sent when the last run ended are sent again and may arrive twice`,
    );
    const sinkNumber = this.positions.sinkNumber(sink);
    // In one group with the end of the intents: without them nothing else says that these lines are not delivered.
    this.positions.storeSkipped();
    this.replace(sinkNumber, 0, ids, [], []);
  }

  get liveCount(): number {
    return this.#live.size;
  }

  get writtenBytes(): number {
    return this.#log!.writtenBytes;
  }

  get commitCount(): number {
    return this.#log!.commitCount;
  }

  /** Why nothing can be written now; null while it can. */
  get failure(): string | null {
    return this.#failure;
  }

  /** A sink that stands still takes no room of another. */
  hasRoom(sinkNumber: number): boolean {
    return this.#live.bytesOf(sinkNumber) < (this.#options.liveBytesMax ?? LIVE_BYTES_MAX);
  }

  /** A producer id was obtained; returns the number by which intents name it. */
  startRun(sink: string, clusterId: string | null, producer: ProducerNumbers): number {
    const number = this.#nextRunNumber++;
    const { producerIdHigh, producerIdLow } = producer;
    const sinkNumber = this.positions.sinkNumber(sink);
    const run: RunFrame = { number, sinkNumber, clusterId, producerIdHigh, producerIdLow };
    this.#forgetRuns(sinkNumber);
    this.#runs.set(number, run);
    this.#log!.append(JournalFrame.RUN, writeRun(this.#out, run));
    return number;
  }

  append(sinkNumber: number, runNumber: number, intent: NewIntent): number {
    this.positions.storeSkipped();
    const { id, bytes } = this.#encode(this.#out.reset(), sinkNumber, runNumber, intent);
    this.#log!.append(JournalFrame.INTENT, bytes);
    return id;
  }

  replace(
    sinkNumber: number,
    runNumber: number,
    cancelledIds: readonly number[],
    gone: readonly GoneEvents[],
    intents: readonly NewIntent[],
  ): number[] {
    const out = this.#out.reset().varint(cancelledIds.length);
    for (const id of cancelledIds) out.varint(id);
    const detached = this.#detachedLines(cancelledIds, gone);
    out.varint(gone.length + (detached.length > 0 ? 1 : 0));
    for (const { kind, reason, lines } of gone) writeGoneLines(out, kind, reason, lines);
    if (detached.length > 0) writeGoneLines(out, "detached", "", detached);
    out.varint(intents.length);
    const ids: number[] = [];
    for (const intent of intents) {
      const { id, bytes } = this.#encode(this.#part.reset(), sinkNumber, runNumber, intent);
      out.varint(bytes.length).raw(bytes);
      ids.push(id);
    }
    for (const id of cancelledIds) this.#live.forget(id);
    this.#log!.append(JournalFrame.REPLACE, out.bytes());
    return ids;
  }

  acknowledge(id: number): void {
    const live = this.#live.get(id);
    if (live === undefined) throw new Error(`Cannot acknowledge batch ${id}: it is not in the journal`);
    for (const { region, count } of live.held) region.countDelivered(count);
    this.#live.forget(id);
    this.#log!.append(JournalFrame.ACK, this.#out.reset().varint(id).bytes());
    this.#log!.flushSoon(ACK_DELAY_MS);
  }

  /** Forgets a sink: its positions, its producer ids, and its batches whatever became of them. */
  forgetSink(name: string): void {
    if (!this.positions.sinkNames().includes(name)) return;
    const number = this.positions.sinkNumber(name);
    for (const [id, { sinkNumber }] of [...this.#live.entries()]) {
      if (sinkNumber === number) this.#live.forget(id);
    }
    for (const [run, { sinkNumber }] of this.#runs) if (sinkNumber === number) this.#runs.delete(run);
    this.positions.forgetSink(name);
  }

  durable(isSynced: boolean): Promise<void> {
    return this.#log!.commit(isSynced);
  }

  /** Everything that was told so far, positions included, is on the device when it resolves. Rejects when the journal was closed. */
  async store(): Promise<void> {
    await this.positions.flush();
    await this.#log!.sync();
  }

  /** Everything is written and the log ends cleanly. False when that failed within `timeoutMs`. Again: the same answer. */
  close(timeoutMs: number): Promise<boolean> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<boolean> {
    this.positions.close();
    this.positions.flush().catch(() => {}); // `close` below says whether it worked
    return await this.#log!.close(timeoutMs);
  }

  async #start(): Promise<void> {
    const { dataDir, durability, log, ops, writer } = this.#options;
    const dir = path.join(dataDir, JOURNAL_FOLDER);
    try {
      this.#log = await SegmentedLog.open({
        dir,
        kind: "journal",
        segmentBytes: this.#segmentBytes,
        durability,
        log,
        checkpoint: (add) => this.#checkpoint(add),
        onProblem: (cause) => this.#problem(cause),
        keepsSpare: this.#options.keepsSpare ?? false,
        ...(ops === undefined ? {} : { ops }),
        ...(writer === undefined ? {} : { writer }),
      }, this.content.found);
    } catch (error) {
      const code = errnoName(error);
      if (code === "UNKNOWN") throw error;
      const isFull = code === "ENOSPC" || code === "EDQUOT";
      throw new StartError(
        "journal-unwritable",
        `Cannot write the journal in "${dir}": ${code}`,
        isFull
          ? `free ${Math.ceil(this.#segmentBytes / 1_048_576)} MiB there, or set data_dir to another disk`
          : "make it writable for the user that runs shipper, or set data_dir to another folder",
        isFull ? EXIT_NO_ROOM : EXIT_CONFIG,
      );
    }
    const journalLog = this.#log;
    this.positions.attach({
      append: (type, payload) => journalLog.append(type, payload),
      commit: () => journalLog.commit(durability === "machine"),
    });
  }

  #encode(out: ByteEncoder, sinkNumber: number, runNumber: number, intent: NewIntent) {
    const id = this.#nextBatchId++;
    const start = out.length;
    const held = writeIntent(out, { id, sinkNumber, runNumber }, intent);
    const bytes = out.bytes().subarray(start);
    this.#live.remember(id, { payload: Buffer.from(bytes), sinkNumber, runNumber, held });
    return { id, bytes };
  }

  /** Lines of cancelled intents that the ones in their place cannot name: their file was cut back meanwhile. */
  #detachedLines(cancelledIds: readonly number[], gone: readonly GoneEvents[]): HeldLines[] {
    const counted = new Set(gone.flatMap(({ lines }) => lines.map(({ region }) => region)));
    return cancelledIds.flatMap((id) =>
      (this.#live.get(id)?.held ?? []).filter(({ region }) =>
        region.streamNumber === 0 && !counted.has(region)
      )
    );
  }

  /** Runs of a sink that no intent names any more. */
  #forgetRuns(sinkNumber: number): void {
    const named = new Set([...this.#live.values()].map(({ runNumber }) => runNumber));
    for (const [number, run] of this.#runs) {
      if (run.sinkNumber === sinkNumber && !named.has(number)) this.#runs.delete(number);
    }
  }

  #checkpoint(add: (type: number, payload: Buffer) => void): void {
    const { machineId, dataDirInode } = this.#options;
    const frame = { nextBatchId: this.#nextBatchId, machineId, dataDirInode };
    add(JournalFrame.CHECKPOINT, writeCheckpoint(this.#out, frame));
    this.positions.writeAll(add);
    crashPoint("mid_checkpoint");
    for (const run of this.#runs.values()) add(JournalFrame.RUN, writeRun(this.#out, run));
    for (const { payload } of this.#live.values()) add(JournalFrame.INTENT, payload);
  }

  #problem(cause: string | null): void {
    const { log, dataDir } = this.#options;
    const before = this.#failure;
    this.#failure = cause;
    if (cause === before) return;
    if (cause === null) {
      log.info("The journal can be written again: delivery goes on", { dataDir });
      return;
    }
    const isFull = cause.includes("ENOSPC") || cause.includes("EDQUOT");
    log.warn(
      `Cannot write the journal in "${dataDir}" (${cause}): delivery waits, and writing is tried again`,
      {
        hint: isFull
          ? "free space where data_dir is"
          : "make data_dir writable for the user that runs shipper",
      },
    );
  }
}

/** For a frame REPLACE, and for the account over all runs. */
function writeGoneLines(
  out: ByteEncoder,
  kind: keyof typeof GONE_KINDS,
  reason: string,
  lines: readonly HeldLines[],
): void {
  out.uint8(GONE_KINDS[kind]).text(reason).varint(lines.length);
  for (const { region, streamNumber, count } of lines) {
    out.varint(streamNumber).varint(count);
    region.countGone(kind, reason, count);
  }
}
