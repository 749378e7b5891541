import { ByteDecoder, ByteEncoder } from "../storage/byte_codec.ts";
import { writeLedger } from "./ledger_snapshot.ts";
import { type FileRecord, isFileRecord } from "./position_file.ts";
import { PositionFrame } from "./position_frames.ts";
import { PositionStore, type PositionStoreOptions } from "./position_store.ts";
import type { StreamEntry } from "./stream_entry.ts";

/** A stored position that changed: `value` null: it is forgotten. */
interface Change {
  readonly key: string;
  readonly value: Buffer | null;
}

/**
 * The positions of one sink that stores them itself, one value for each stream, in place of the journal:
 *
 *     key      source | 0 | stream id
 *     value    seen, ms since the epoch varint | file record, JSON text | has a position uint8 (0, 1) | ledger (ledger_snapshot.ts)
 *
 * What is covered in memory may be ahead of what is stored, by the lines of one transaction.
 */
export class SinkPositions {
  readonly store: PositionStore;
  readonly #sink: string;
  readonly #out = new ByteEncoder();
  /** Streams whose position is to be written, by number. */
  readonly #changed = new Set<number>();
  /** Keys of streams that are forgotten. */
  readonly #forgotten = new Set<string>();
  /** What `takeChanges` gave last, until it is known to be stored. */
  #takenStreams: number[] = [];
  #takenKeys: string[] = [];
  /** Under which key a stream is stored, by its number. */
  readonly #keys = new Map<number, string>();
  #hasNew = false;
  onChange: () => void = () => {};

  constructor(sink: string, options: PositionStoreOptions = {}) {
    this.#sink = sink;
    this.store = new PositionStore(options);
    this.store.attach({
      append: (type, payload) => this.#noted(type, payload),
      // What was noted is stored with the next transaction, which nobody here waits for.
      commit: () => Promise.resolve(),
    });
  }

  get hasChanges(): boolean {
    return this.#changed.size + this.#forgotten.size + this.#takenStreams.length + this.#takenKeys.length > 0;
  }

  get hasNew(): boolean {
    return this.#hasNew;
  }

  restore(stored: ReadonlyMap<string, Buffer>): void {
    for (const [key, value] of stored) {
      const input = new ByteDecoder(value);
      const seenMs = input.varint();
      const record: unknown = JSON.parse(input.text());
      if (!isFileRecord(record) || keyOf(record) !== key) throw new Error("its file record is incomplete");
      this.store.restore(record, seenMs, this.#sink, input.uint8() === 0 ? null : input);
      if (!input.isAtEnd) throw new Error("it has bytes too many");
    }
    this.store.finishRestore();
    for (const entry of this.store.entries()) this.#keys.set(entry.number, keyOf(entry.record));
  }

  touch(streamNumber: number): void {
    if (streamNumber !== 0) this.#changed.add(streamNumber);
  }

  flush(): void {
    this.store.flush().catch(() => {}); // `commit` above never rejects
  }

  takeChanges(): Change[] {
    this.flush();
    this.#hasNew = false;
    this.#takenStreams = [...this.#changed];
    this.#changed.clear();
    const changes: Change[] = [];
    for (const number of this.#takenStreams) {
      const entry = this.store.entryOf(number);
      if (entry === null) continue;
      const key = keyOf(entry.record);
      const before = this.#keys.get(number);
      // The device got another number, and the stream another id.
      if (before !== undefined && before !== key) this.#forgotten.add(before);
      this.#keys.set(number, key);
      this.#forgotten.delete(key);
      changes.push({ key, value: this.#valueOf(entry) });
    }
    this.#takenKeys = [...this.#forgotten];
    this.#forgotten.clear();
    for (const key of this.#takenKeys) changes.push({ key, value: null });
    return changes;
  }

  stored(): void {
    this.#takenStreams = [];
    this.#takenKeys = [];
  }

  notStored(): void {
    for (const number of this.#takenStreams) this.#changed.add(number);
    for (const key of this.#takenKeys) this.#forgotten.add(key);
    this.#hasNew ||= this.#takenStreams.length > 0;
    this.stored();
  }

  changeAll(): void {
    this.notStored();
    for (const { number } of this.store.entries()) this.#changed.add(number);
  }

  /** A frame, which the journal would store: what it is about is written whole. */
  #noted(type: number, payload: Buffer): void {
    if (type === PositionFrame.SINK || type === PositionFrame.NO_SINK) return;
    const number = new ByteDecoder(payload).varint();
    if (type === PositionFrame.FORGET) {
      const key = this.#keys.get(number);
      this.#keys.delete(number);
      this.#changed.delete(number);
      // Another stream may have the id by now.
      if (key !== undefined && ![...this.#keys.values()].includes(key)) this.#forgotten.add(key);
    } else {
      this.#hasNew ||= !this.#keys.has(number);
      this.#changed.add(number);
    }
    this.onChange();
  }

  #valueOf({ record, seenMs, ledgers }: StreamEntry): Buffer {
    const ledger = ledgers.get(this.#sink);
    const out = this.#out.reset().varint(Math.max(0, Math.trunc(seenMs))).text(JSON.stringify(record));
    out.uint8(ledger === undefined ? 0 : 1);
    if (ledger !== undefined) writeLedger(out, ledger);
    return Buffer.from(out.bytes());
  }
}

function keyOf({ source, id }: FileRecord): string {
  return `${source}\u0000${id}`;
}
