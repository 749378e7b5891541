import type { Stream } from "../event/stream.ts";
import type { StreamAccount, Tally } from "../event/tally.ts";
import type { ByteDecoder } from "../storage/byte_codec.ts";
import { BufferedPositions } from "./buffered_positions.ts";
import type { SourcePositions } from "./checkpoint.ts";
import type { Ledger } from "./ledger.ts";
import type { Mark } from "./marks.ts";
import type { FileRecord } from "./position_file.ts";
import { PositionFrame } from "./position_frames.ts";
import type { RegionInfo } from "./region.ts";
import { RunAccounts } from "./run_accounts.ts";
import type { StreamEntry } from "./stream_entry.ts";
import { StreamIndex } from "./stream_index.ts";
import { type WriteLater, WriteTimer } from "./write_timer.ts";

/** A stream whose file was not seen for this long is forgotten. */
export const UNSEEN_KEPT_MS = 7 * 86_400_000;
const SEEN_STORED_MS = 6 * 3_600_000;

/** Where frames go. */
export interface PositionLog {
  append(type: number, payload: Buffer): void;
  /** Resolves when everything that was appended is stored. */
  commit(): Promise<void>;
}

export interface PositionStoreOptions {
  readonly now?: () => number;
  /** Default: timers. */
  readonly writeLater?: WriteLater;
}

/**
 * Where reading goes on, for each (source, stream, sink): in memory, and as frames in the journal. A new stream is stored at once, as a file
 * that is rotated after a crash is only found by what is stored of it; other changes at most once a second. Intents tell most of what changes
 * under exactly-once delivery, so that nothing is written here for a line that was delivered.
 *
 * Streams of a pipe on stdin are tracked and never stored: they cannot be read again.
 */
export class PositionStore implements SourcePositions {
  readonly #now: () => number;
  readonly #index: StreamIndex;
  readonly #run = new RunAccounts();
  readonly #changedStreams = new Set<StreamEntry>();
  readonly #changedLedgers = new Map<Ledger, { entry: StreamEntry; sink: string }>();
  readonly #skippedLedgers = new Map<Ledger, { entry: StreamEntry; sink: string }>();
  readonly #timer: WriteTimer;
  #log: PositionLog | null = null;
  #needsSweep = false;
  /** Positions that follow from what is in disk buffers. */
  readonly buffers: BufferedPositions;
  /**
   * Counts what a restart has to know before it sees events of a stream in a disk buffer: that the stream is there, where its reading began, and that
   * its file was cut.
   */
  urgentCount = 0;
  /** Whether a batch that may have to be sent again holds bytes of this stream. */
  isNeeded: (streamNumber: number) => boolean = () => false;

  constructor(options: PositionStoreOptions = {}) {
    this.#now = options.now ?? Date.now;
    this.#timer = new WriteTimer(() => this.flush(), options.writeLater);
    this.#index = new StreamIndex((entry, sink, ledger, isUntold) =>
      this.#changed(entry, sink, ledger, isUntold)
    );
    this.buffers = new BufferedPositions(this.#index);
  }

  /** From now on changes are stored there. Without one (`--dry-run`) nothing is. */
  attach(log: PositionLog): void {
    this.#log = log;
  }

  // --- streams -----------------------------------------------------------------------------------------------------------------

  records(source: string): FileRecord[] {
    const found: FileRecord[] = [];
    for (const { record } of this.#index.entries()) if (record.source === source) found.push(record);
    return found;
  }

  record(source: string, id: string): FileRecord | null {
    return this.#index.get(source, id)?.record ?? null;
  }

  entryOf(streamNumber: number): StreamEntry | null {
    return this.#index.byNumber(streamNumber) ?? null;
  }

  entries(): Iterable<StreamEntry> {
    return this.#index.entries();
  }

  put(record: FileRecord): void {
    const entry = this.#index.get(record.source, record.id);
    if (entry === undefined) {
      this.#add(record, this.#now());
      return;
    }
    entry.record = record;
    entry.seenMs = this.#now();
    entry.finalOffsets = null;
    this.#changedStreams.add(entry);
    this.#timer.want();
  }

  adopt(oldId: string, record: FileRecord): void {
    const entry = this.#index.get(record.source, oldId);
    if (entry === undefined) return this.put(record);
    this.#index.setRecord(entry, record);
    entry.seenMs = this.#now();
    entry.finalOffsets = null;
    this.urgentCount++;
    this.#changedStreams.add(entry);
    this.#timer.want();
  }

  seen(source: string, id: string): void {
    const entry = this.#index.get(source, id);
    if (entry === undefined || this.#now() - entry.seenMs < SEEN_STORED_MS) return;
    entry.seenMs = this.#now();
    this.#changedStreams.add(entry);
    this.#timer.want();
  }

  forgetUnseen(source: string): void {
    const oldestMs = this.#now() - UNSEEN_KEPT_MS;
    for (const entry of [...this.#index.entries()]) {
      if (entry.record.source === source && entry.seenMs < oldestMs) this.#forgetWhenFree(entry, new Map());
    }
  }

  forget(source: string, id: string): void {
    const entry = this.#index.get(source, id);
    if (entry !== undefined) this.#forgetWhenFree(entry, new Map());
  }

  forgetWhenDelivered(source: string, id: string, finalOffsets: ReadonlyMap<string, number>): void {
    const entry = this.#index.get(source, id);
    if (entry !== undefined) this.#forgetWhenFree(entry, finalOffsets);
  }

  // --- positions ---------------------------------------------------------------------------------------------------------------

  /** The account of a (stream, sink) pair, the same one for every call, starting at `startOffset` when it is new. */
  ledger(stream: Stream, sink: string, startOffset: number): Ledger {
    const entry = this.#index.get(stream.source, stream.id);
    if (entry === undefined) return this.#run.unstoredLedger(stream, sink, startOffset);
    const found = entry.ledgers.get(sink);
    if (found === undefined) return this.#newLedger(entry, sink, stream, startOffset);
    found.stream = stream;
    return found;
  }

  position(source: string, id: string, sink: string): number | null {
    return this.#ledger(source, id, sink)?.position ?? null;
  }

  resumeOffset(source: string, id: string, sink: string): number | null {
    return this.#ledger(source, id, sink)?.cursor ?? null;
  }

  knownEnd(source: string, id: string, sink: string): number {
    return this.#ledger(source, id, sink)?.trackedEnd ?? 0;
  }

  startAt(source: string, id: string, sink: string, offset: number): void {
    const entry = this.#index.get(source, id);
    if (entry === undefined || entry.ledgers.has(sink)) return;
    const ledger = this.#newLedger(entry, sink, entry.stream(), offset);
    // Before any intent that names it: without it a restart would read the stream from its first byte.
    this.#log?.append(PositionFrame.POSITION, this.#index.positionFrame(entry, sink, ledger));
    this.urgentCount++;
    this.#timer.wantSoon();
  }

  marks(source: string, id: string, sink: string): readonly Mark[] {
    return this.#ledger(source, id, sink)?.knownRegions() ?? [];
  }

  rewind(source: string, id: string, sink: string, offset: number): void {
    const entry = this.#index.get(source, id);
    const ledger = entry?.ledgers.get(sink);
    if (ledger === undefined) return;
    const isKnown = ledger.trackedEnd > offset;
    // Also where nothing behind `offset` was taken: the start of a line may have been looked at.
    ledger.rewind(offset);
    if (!isKnown) return;
    this.buffers.rewound(ledger, sink, offset);
    this.urgentCount++;
    // Before any intent that names other bytes by the same offsets.
    this.#log?.append(PositionFrame.POSITION, this.#index.positionFrame(entry!, sink, ledger));
  }

  lose(source: string, id: string, sink: string, cause: string, bytes: number): void {
    const ledger = this.#ledger(source, id, sink);
    ledger?.totals.loseBytes(cause, bytes);
    ledger?.changed();
  }

  /** Called before an intent is written: lines that were given up in front of its lines are not to be read again behind them. */
  storeSkipped(): void {
    for (const [ledger, { entry, sink }] of this.#skippedLedgers) {
      ledger.hasSkipped = false;
      if (!this.#index.has(entry) || entry.ledgers.get(sink) !== ledger) continue;
      this.#log?.append(PositionFrame.POSITION, this.#index.positionFrame(entry, sink, ledger));
    }
    this.#skippedLedgers.clear();
  }

  holeBytes(source: string, id: string, sink: string): number {
    return this.#ledger(source, id, sink)?.holeBytes() ?? 0;
  }

  /** What an older version has stored of a stream. */
  migrate(
    record: FileRecord,
    seenMs: number,
    offsets: Readonly<Record<string, number>>,
    isInsideCutLine: (sink: string) => boolean,
  ): void {
    const entry = this.#add(record, seenMs);
    for (const [sink, offset] of Object.entries(offsets)) {
      this.#newLedger(entry, sink, entry.stream(), offset, isInsideCutLine(sink));
    }
  }

  /** What is stored of a stream elsewhere than in frames, with the position of one sink; `finishRestore` follows. Throws `CodecError`. */
  restore(record: FileRecord, seenMs: number, sink: string, input: ByteDecoder | null): void {
    this.#index.restore(record, seenMs, sink, input);
  }

  /** What became of the events of every stream in this run, the forgotten ones too. */
  accounts(): Iterable<StreamAccount> {
    return this.#run.accounts(this.#index.entries());
  }

  /** What became of the events of the streams that were forgotten, as a sum. */
  forgottenTally(source: string, sink: string): Tally {
    return this.#run.forgottenTally(source, sink);
  }

  // --- frames ------------------------------------------------------------------------------------------------------------------

  /** The number by which frames name a sink; a new one gets one. */
  sinkNumber(name: string): number {
    const known = this.#index.sinkNumber(name);
    if (known !== undefined) return known;
    const number = this.#index.addSink(name);
    this.#log?.append(PositionFrame.SINK, this.#index.sinkFrame(number, name));
    return number;
  }

  sinkName(number: number): string | null {
    return this.#index.sinkName(number) ?? null;
  }

  sinkNames(): readonly string[] {
    return this.#index.sinkNames();
  }

  forgetSink(name: string): void {
    const number = this.#index.sinkNumber(name);
    if (number === undefined) return;
    this.#index.dropSink(number);
    this.#log?.append(PositionFrame.NO_SINK, this.#index.numberFrame(number));
  }

  /** Everything, for a checkpoint. */
  writeAll(add: (type: number, payload: Buffer) => void): void {
    this.#index.writeAll(add);
    this.buffers.write(add);
    this.#changedStreams.clear();
    this.#changedLedgers.clear();
  }

  /** A checkpoint begins: what was read before means nothing any more. */
  reset(): void {
    this.#index.reset();
    this.buffers.reset();
  }

  /** Applies a frame that was read; false when it is none of its own. Throws `CodecError`. */
  apply(type: number, input: ByteDecoder): boolean {
    return this.#index.apply(type, input) || this.buffers.apply(type, input);
  }

  /** Lines of a region are in an intent that was read. Throws `CodecError` when the journal contradicts itself. */
  coverStored(streamNumber: number, sinkNumber: number, info: RegionInfo, runs: readonly number[]): void {
    this.#index.coverStored(streamNumber, sinkNumber, info, runs);
  }

  storedLedger(streamNumber: number, sinkNumber: number): Ledger | null {
    return this.#index.storedLedger(streamNumber, sinkNumber);
  }

  /** Events have become secure in a disk buffer: that is stored within a second, or a start would have to read all of them to know it. */
  bufferProgressed(): void {
    this.#timer.want();
  }

  /** Nobody works for the sink: its ledgers are made anew, as a restart would. What live intents hold is the caller's. */
  reopenSink(sink: string): void {
    for (const { entry, ledger } of this.#index.reopen(sink)) {
      // The ledger that was there may have had something to store.
      this.#log?.append(PositionFrame.POSITION, this.#index.positionFrame(entry, sink, ledger));
    }
  }

  /** `Tally.giveBack` of all its streams; gives the sum. `isOver`: an unstored stream that nobody reads any more; its figures stay. */
  giveBack(sink: string, isOver: (stream: Stream) => boolean): number {
    let count = this.#run.giveBack(sink, isOver);
    for (const { ledgers } of this.#index.entries()) count += ledgers.get(sink)?.tally.giveBack() ?? 0;
    return count;
  }

  /** After the last frame. */
  finishRestore(): void {
    this.#index.finishRestore();
  }

  /** Stores what is not stored yet. Resolves false when that failed (it was logged). */
  async flush(): Promise<void> {
    if (this.#log === null) return;
    if (this.#needsSweep) this.#sweep();
    for (const entry of this.#changedStreams) {
      if (this.#index.has(entry)) this.#log.append(PositionFrame.STREAM, this.#index.streamFrame(entry));
    }
    this.#changedStreams.clear();
    for (const [ledger, { entry, sink }] of this.#changedLedgers) {
      // The stream or the sink may have been forgotten meanwhile.
      if (!this.#index.has(entry) || entry.ledgers.get(sink) !== ledger) continue;
      this.#log.append(PositionFrame.POSITION, this.#index.positionFrame(entry, sink, ledger));
    }
    this.#changedLedgers.clear();
    const log = this.#log;
    this.buffers.write((type, payload) => log.append(type, payload));
    await this.#log.commit();
  }

  /** No timer runs afterwards; what is not stored is left to a last `flush`. */
  close(): void {
    this.#timer.close();
  }

  // --- inside ------------------------------------------------------------------------------------------------------------------

  #ledger(source: string, id: string, sink: string): Ledger | null {
    return this.#index.get(source, id)?.ledgers.get(sink) ?? null;
  }

  #add(record: FileRecord, seenMs: number): StreamEntry {
    const entry = this.#index.add(record, seenMs);
    // Before any intent that names it.
    this.#log?.append(PositionFrame.STREAM, this.#index.streamFrame(entry));
    this.urgentCount++;
    this.#timer.wantSoon();
    return entry;
  }

  #newLedger(entry: StreamEntry, sink: string, stream: Stream, offset: number, isCut = false): Ledger {
    this.sinkNumber(sink);
    return this.#index.newLedger(entry, sink, stream, offset, isCut);
  }

  #changed(entry: StreamEntry, sink: string, ledger: Ledger, isUntold: boolean): void {
    if (entry.finalOffsets !== null) {
      this.#needsSweep = true;
      this.#timer.want();
    }
    if (!isUntold) return this.buffers.moved(entry.number);
    if (ledger.hasSkipped) this.#skippedLedgers.set(ledger, { entry, sink });
    this.#changedLedgers.set(ledger, { entry, sink });
    this.#timer.want();
  }

  #forgetWhenFree(entry: StreamEntry, finalOffsets: ReadonlyMap<string, number>): void {
    entry.finalOffsets = finalOffsets;
    if (entry.isDelivered() && !this.isNeeded(entry.number)) return this.#forgetNow(entry);
    this.#needsSweep = true;
    this.#timer.want();
  }

  #sweep(): void {
    this.#needsSweep = false;
    for (const entry of [...this.#index.entries()]) {
      if (entry.finalOffsets === null) continue;
      if (entry.isDelivered() && !this.isNeeded(entry.number)) this.#forgetNow(entry);
      else this.#needsSweep = true;
    }
  }

  #forgetNow(entry: StreamEntry): void {
    this.#run.forget(entry);
    this.#index.remove(entry.number);
    this.#log?.append(PositionFrame.FORGET, this.#index.numberFrame(entry.number));
    this.#timer.want();
  }
}
