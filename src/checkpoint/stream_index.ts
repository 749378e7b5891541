import { ByteDecoder, ByteEncoder, CodecError } from "../storage/byte_codec.ts";
import type { Stream } from "../event/stream.ts";
import { Tally } from "../event/tally.ts";
import { Ledger } from "./ledger.ts";
import { readLedger, writeLedger } from "./ledger_snapshot.ts";
import type { FileRecord } from "./position_file.ts";
import { PositionFrame, readStreamFrame, writeStreamFrame } from "./position_frames.ts";
import type { RegionInfo } from "./region.ts";
import { StreamEntry } from "./stream_entry.ts";
import { Totals } from "./totals.ts";

/** A ledger of an entry has changed; see `Ledger` for `isUntold`. */
export type OnLedgerChange = (entry: StreamEntry, sink: string, ledger: Ledger, isUntold: boolean) => void;

/** All streams that are stored, their ledgers, and the names of sinks: in memory, as frames, and from frames. */
export class StreamIndex {
  readonly #entries = new Map<string, StreamEntry>();
  readonly #byNumber = new Map<number, StreamEntry>();
  readonly #sinkNumbers = new Map<string, number>();
  readonly #sinkNames = new Map<number, string>();
  readonly #out = new ByteEncoder();
  readonly #onChange: OnLedgerChange;
  #nextNumber = 1;

  constructor(onChange: OnLedgerChange) {
    this.#onChange = onChange;
  }

  // --- streams -----------------------------------------------------------------------------------------------------------------

  get(source: string, id: string): StreamEntry | undefined {
    return this.#entries.get(entryKey(source, id));
  }

  byNumber(streamNumber: number): StreamEntry | undefined {
    return this.#byNumber.get(streamNumber);
  }

  /** It is the one that its number stands for: it was not forgotten. */
  has(entry: StreamEntry): boolean {
    return this.#byNumber.get(entry.number) === entry;
  }

  entries(): Iterable<StreamEntry> {
    return this.#entries.values();
  }

  add(record: FileRecord, seenMs: number): StreamEntry {
    const entry = new StreamEntry(this.#nextNumber++, record, seenMs);
    this.#put(entry);
    return entry;
  }

  /** The entry has another record, perhaps under another id. */
  setRecord(entry: StreamEntry, record: FileRecord): void {
    this.remove(entry.number);
    entry.record = record;
    for (const ledger of entry.ledgers.values()) ledger.stream = entry.stream();
    this.#put(entry);
  }

  remove(streamNumber: number): void {
    const entry = this.#byNumber.get(streamNumber);
    if (entry === undefined) return;
    this.#byNumber.delete(streamNumber);
    const key = entryKey(entry.record.source, entry.record.id);
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
  }

  /** The sink has a number (`addSink`). */
  newLedger(
    entry: StreamEntry,
    sink: string,
    stream: Stream,
    offset: number,
    isCut = false,
    tally = new Tally(),
  ): Ledger {
    const onChange = (isUntold: boolean) => this.#onChange(entry, sink, ledger, isUntold);
    const ledger = new Ledger(stream, entry.number, offset, onChange, isCut, new Totals(), tally);
    entry.ledgers.set(sink, ledger);
    return ledger;
  }

  // --- sinks -------------------------------------------------------------------------------------------------------------------

  sinkNumber(name: string): number | undefined {
    return this.#sinkNumbers.get(name);
  }

  sinkName(number: number): string | undefined {
    return this.#sinkNames.get(number);
  }

  sinkNames(): string[] {
    return [...this.#sinkNumbers.keys()];
  }

  addSink(name: string, number: number = this.#nextNumber): number {
    this.#sinkNumbers.set(name, number);
    this.#sinkNames.set(number, name);
    this.#nextNumber = Math.max(this.#nextNumber, number + 1);
    return number;
  }

  dropSink(number: number): void {
    const name = this.#sinkNames.get(number);
    if (name === undefined) return;
    this.#sinkNames.delete(number);
    this.#sinkNumbers.delete(name);
    for (const entry of this.#entries.values()) entry.ledgers.delete(name);
  }

  // --- frames: each is valid until the next one is made -------------------------------------------------------------------------

  numberFrame(number: number): Buffer {
    return this.#out.reset().varint(number).bytes();
  }

  sinkFrame(number: number, name: string): Buffer {
    return this.#out.reset().varint(number).text(name).bytes();
  }

  streamFrame(entry: StreamEntry): Buffer {
    writeStreamFrame(this.#out.reset(), entry);
    return this.#out.bytes();
  }

  positionFrame(entry: StreamEntry, sink: string, ledger: Ledger): Buffer {
    this.#out.reset().varint(entry.number).varint(this.#sinkNumbers.get(sink)!);
    writeLedger(this.#out, ledger);
    return this.#out.bytes();
  }

  writeAll(add: (type: number, payload: Buffer) => void): void {
    for (const [name, number] of this.#sinkNumbers) add(PositionFrame.SINK, this.sinkFrame(number, name));
    for (const entry of this.#entries.values()) {
      add(PositionFrame.STREAM, this.streamFrame(entry));
      for (const [sink, ledger] of entry.ledgers) {
        add(PositionFrame.POSITION, this.positionFrame(entry, sink, ledger));
      }
    }
  }

  // --- restoring ---------------------------------------------------------------------------------------------------------------

  /** Adds a stream with the position of one sink, as `writeLedger` wrote it; null: none. Throws `CodecError`. */
  restore(record: FileRecord, seenMs: number, sink: string, input: ByteDecoder | null): void {
    const entry = this.add(record, seenMs);
    if (input === null) return;
    readLedger(
      input,
      (startOffset, isCut) => this.newLedger(entry, sink, entry.stream(), startOffset, isCut),
    );
  }

  reset(): void {
    for (const map of [this.#entries, this.#byNumber, this.#sinkNumbers, this.#sinkNames]) map.clear();
    this.#nextNumber = 1;
  }

  /** Applies a frame that was read; false when it is none of its own. Throws `CodecError`. */
  apply(type: number, input: ByteDecoder): boolean {
    switch (type) {
      case PositionFrame.SINK: {
        const number = input.varint();
        this.addSink(input.text(), number);
        return true;
      }
      case PositionFrame.NO_SINK:
        this.dropSink(input.varint());
        return true;
      case PositionFrame.STREAM:
        this.#applyStream(input);
        return true;
      case PositionFrame.FORGET:
        this.remove(input.varint());
        return true;
      case PositionFrame.POSITION:
        this.#applyPosition(input);
        return true;
      default:
        return false;
    }
  }

  coverStored(streamNumber: number, sinkNumber: number, info: RegionInfo, runs: readonly number[]): void {
    const ledger = this.storedLedger(streamNumber, sinkNumber);
    // The stream was forgotten meanwhile.
    if (ledger === null) return;
    if (!ledger.coverStored(info, runs)) {
      throw new CodecError(
        `Bytes ${info.startOffset} to ${info.endOffset} of stream ${streamNumber} are told twice`,
      );
    }
  }

  storedLedger(streamNumber: number, sinkNumber: number): Ledger | null {
    const entry = this.#byNumber.get(streamNumber);
    const sink = this.#sinkNames.get(sinkNumber);
    if (entry === undefined || sink === undefined) return null;
    return entry.ledgers.get(sink) ?? this.newLedger(entry, sink, entry.stream(), 0);
  }

  /**
   * Puts a ledger made of what a checkpoint would store in the place of each one of the sink, as if the process had started anew; the account of the
   * run goes on. Live intents are left to the caller (`Ledger.reopen`). Gives what was put in place.
   */
  reopen(sink: string): { readonly entry: StreamEntry; readonly ledger: Ledger }[] {
    const reopened: { entry: StreamEntry; ledger: Ledger }[] = [];
    for (const entry of this.#entries.values()) {
      const before = entry.ledgers.get(sink);
      if (before === undefined) continue;
      writeLedger(this.#out.reset(), before);
      const ledger = readLedger(
        new ByteDecoder(Buffer.from(this.#out.bytes())),
        (offset, isCut) => this.newLedger(entry, sink, before.stream, offset, isCut, before.tally),
      );
      ledger.finishRestore();
      reopened.push({ entry, ledger });
    }
    return reopened;
  }

  finishRestore(): void {
    for (const entry of this.#entries.values()) {
      for (const ledger of entry.ledgers.values()) ledger.finishRestore();
    }
  }

  #put(entry: StreamEntry): void {
    this.#entries.set(entryKey(entry.record.source, entry.record.id), entry);
    this.#byNumber.set(entry.number, entry);
  }

  #applyStream(input: ByteDecoder): void {
    const { number, seenMs, record } = readStreamFrame(input);
    this.#nextNumber = Math.max(this.#nextNumber, number + 1);
    // Its ledgers know this entry: it stays the same one.
    const entry = this.#byNumber.get(number) ?? new StreamEntry(number, record, seenMs);
    entry.seenMs = seenMs;
    this.setRecord(entry, record);
  }

  #applyPosition(input: ByteDecoder): void {
    const entry = this.#byNumber.get(input.varint());
    const sink = this.#sinkNames.get(input.varint());
    if (entry === undefined || sink === undefined) return;
    readLedger(
      input,
      (startOffset, isCut) => this.newLedger(entry, sink, entry.stream(), startOffset, isCut),
    );
  }
}

function entryKey(source: string, id: string): string {
  return `${source}\u0000${id}`;
}
