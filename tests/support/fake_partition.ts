import { gunzipSync } from "node:zlib";
import { crc32c } from "../../src/kafka/crc32c.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { type ReadBatch, readBatchHeader, readRecords } from "./record_batches.ts";

/** Batches of a producer that a partition remembers, as brokers do. */
const REMEMBERED_BATCHES = 5;
const SEQUENCES = 0x8000_0000;
const TRANSACTIONAL = 16;
const CONTROL = 32;
const MARKER_BYTES = 61 + 17;
/** A broker writes its own offset and leader epoch in front of what the client gave. */
const CLIENTS_FROM = 16;

interface Remembered {
  readonly first: number;
  readonly last: number;
  readonly offset: number;
  readonly bytes: Buffer;
}

interface ProducerState {
  epoch: number;
  readonly batches: Remembered[];
}

/** A batch as it lies on a broker's disk. */
export interface StoredBatch {
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly bytes: Buffer;
}

/** As DescribeProducers tells it. */
export interface FakeProducer {
  readonly producerId: bigint;
  readonly epoch: number;
  readonly lastSequence: number;
  readonly lastTimestampMs: number;
  /** Of an open transaction; -1: there is none. */
  readonly transactionStartOffset: number;
}

export interface FakeRecord {
  readonly key: string | null;
  readonly value: string;
}

/** A partition's log with the de-duplication of a real broker (ProducerStateManager), as far as a client can see it. */
export class FakePartitionLog {
  readonly id: number;
  leader: number;
  /** What was appended, in order. */
  readonly records: FakeRecord[] = [];
  /** Headers of what was appended. */
  readonly batches: ReadBatch[] = [];
  /** The same with their bytes; a test may take some out, as compaction does. */
  readonly stored: StoredBatch[] = [];
  logStartOffset = 0;
  /** End of what is replicated; null: all is. */
  replicatedOffset: number | null = null;
  /** Transactions that were aborted, by their offsets here. */
  readonly aborted: {
    readonly producerId: bigint;
    readonly firstOffset: number;
    readonly endOffset: number;
  }[] = [];
  /** Where open transactions begin, by producer. */
  readonly #firstOffsets = new Map<bigint, number>();
  readonly #producers = new Map<bigint, ProducerState>();
  /** Where each leader epoch begins. */
  #epochs = [{ epoch: 0, startOffset: 0 }];

  constructor(id: number, leader: number) {
    this.id = id;
    this.leader = leader;
  }

  get values(): string[] {
    return this.records.map((record) => record.value);
  }

  get leaderEpoch(): number {
    return this.#epochs[this.#epochs.length - 1]!.epoch;
  }

  set leaderEpoch(epoch: number) {
    this.#epochs.push({ epoch, startOffset: this.logEndOffset });
  }

  get logEndOffset(): number {
    return this.records.length;
  }

  get highWatermark(): number {
    return this.replicatedOffset ?? this.logEndOffset;
  }

  /** The newest epoch up to this one, and where it ends (KIP-320). */
  epochEnd(epoch: number): { leaderEpoch: number; endOffset: number } {
    const next = this.#epochs.find((each) => each.epoch > epoch);
    const own = this.#epochs.findLast((each) => each.epoch <= epoch);
    return { leaderEpoch: own?.epoch ?? -1, endOffset: next?.startOffset ?? this.logEndOffset };
  }

  /** Cuts off the end, as a new leader that had less does. Producers go back to what is left. */
  truncate(endOffset: number): void {
    this.records.length = Math.min(this.records.length, endOffset);
    const kept = this.stored.filter((batch) => batch.endOffset <= endOffset);
    this.#epochs = this.#epochs.map(({ epoch, startOffset }) => ({
      epoch,
      startOffset: Math.min(startOffset, endOffset),
    }));
    this.stored.splice(0, Infinity, ...kept);
    this.batches.splice(0, Infinity, ...kept.map(({ bytes }) => readBatchHeader(bytes)));
    this.#producers.clear();
    for (const { bytes, baseOffset } of kept) this.#remember(readBatchHeader(bytes), bytes, baseOffset);
  }

  /** Removes the oldest batches, as retention does; producers stay known. */
  deleteBefore(offset: number): void {
    this.logStartOffset = offset;
    this.stored.splice(0, Infinity, ...this.stored.filter((batch) => batch.endOffset > offset));
  }

  /** Who wrote, as the leader remembers it. */
  producers(): FakeProducer[] {
    return [...this.#producers].map(([producerId, { epoch, batches }]) => {
      const newest = batches[batches.length - 1]!;
      const lastTimestampMs = Number(readBatchHeader(newest.bytes).maxTimestamp);
      const transactionStartOffset = this.#firstOffsets.get(producerId) ?? -1;
      return { producerId, epoch, lastSequence: newest.last, lastTimestampMs, transactionStartOffset };
    });
  }

  /** Appends a batch, or recognises or refuses it. Throws when it is no batch at all. */
  append(bytes: Buffer): { errorCode: number; baseOffset: number } {
    const header = readBatchHeader(bytes);
    const payload = (header.attributes & 7) === 1 ? gunzipSync(header.payload) : header.payload;
    const records = readRecords(payload, header.recordCount);
    const done = this.#recognise(header, bytes);
    if (done !== null) return done;
    const baseOffset = this.records.length;
    for (const { key, value } of records) {
      this.records.push({ key: key === null ? null : String(key), value: String(value) });
    }
    this.batches.push(header);
    const stored = Buffer.from(bytes);
    stored.writeBigInt64BE(BigInt(baseOffset), 0);
    stored.writeInt32BE(this.leaderEpoch, 12);
    this.stored.push({ baseOffset, endOffset: this.records.length, bytes: stored });
    this.#remember(header, bytes, baseOffset);
    return { errorCode: ErrorCode.NONE, baseOffset };
  }

  /** A transaction of this producer begins to write here. */
  open(producerId: bigint): void {
    if (!this.#firstOffsets.has(producerId)) this.#firstOffsets.set(producerId, this.logEndOffset);
  }

  /** Ends the producer's transaction with a marker, as the coordinator has it done. */
  mark(producerId: bigint, epoch: number, isCommitted: boolean): void {
    const firstOffset = this.#firstOffsets.get(producerId);
    this.#firstOffsets.delete(producerId);
    if (firstOffset !== undefined && !isCommitted) {
      this.aborted.push({ producerId, firstOffset, endOffset: this.logEndOffset });
    }
    const bytes = Buffer.alloc(MARKER_BYTES);
    bytes.writeBigInt64BE(BigInt(this.logEndOffset), 0);
    bytes.writeInt32BE(MARKER_BYTES - 12, 8);
    bytes[16] = 2;
    bytes.writeInt16BE(TRANSACTIONAL | CONTROL, 21);
    bytes.writeBigInt64BE(producerId, 43);
    bytes.writeInt16BE(epoch, 51);
    bytes.writeInt32BE(-1, 53);
    bytes.writeInt32BE(1, 57);
    // length, attributes, time, offset, key (version, type), value (version, coordinator epoch), headers; zigzag
    bytes.set([32, 0, 0, 0, 8, 0, 0, 0, isCommitted ? 1 : 0, 12, 0, 0, 0, 0, 0, 0, 0], 61);
    bytes.writeUInt32BE(crc32c(bytes, 21, bytes.length), 17);
    this.stored.push({ baseOffset: this.logEndOffset, endOffset: this.logEndOffset + 1, bytes });
    this.records.push({ key: null, value: "" });
    this.batches.push(readBatchHeader(bytes));
  }

  /** First offset of an open transaction, or the high watermark. */
  get lastStableOffset(): number {
    return Math.min(this.highWatermark, ...this.#firstOffsets.values());
  }

  /** What a reader with read_committed gets. */
  committedValues(): string[] {
    const values: string[] = [];
    for (const { bytes, baseOffset, endOffset } of this.stored) {
      const { attributes, producerId } = readBatchHeader(bytes);
      const isAborted = this.aborted.some((each) =>
        each.producerId === producerId && each.firstOffset <= baseOffset && baseOffset < each.endOffset
      );
      if ((attributes & CONTROL) !== 0 || isAborted || endOffset > this.lastStableOffset) continue;
      values.push(...this.records.slice(baseOffset, endOffset).map((record) => record.value));
    }
    return values;
  }

  /** As a broker does after a day, or after a restart without a snapshot. */
  forgetProducers(): void {
    this.#producers.clear();
  }

  /** As a broker that was restarted cleanly: of each producer it knows the last batch. */
  forgetAllButTheLast(): void {
    for (const { batches } of this.#producers.values()) batches.splice(0, batches.length - 1);
  }

  #recognise(header: ReadBatch, bytes: Buffer): { errorCode: number; baseOffset: number } | null {
    const refused = (errorCode: number) => ({ errorCode, baseOffset: -1 });
    const state = this.#producers.get(header.producerId);
    if (header.producerId < 0n || state === undefined) return null;
    if (header.producerEpoch < state.epoch) return refused(ErrorCode.INVALID_PRODUCER_EPOCH);
    if (header.producerEpoch > state.epoch) {
      return header.baseSequence === 0 ? null : refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
    }
    const first = header.baseSequence;
    const last = (first + header.recordCount - 1) % SEQUENCES;
    const repeated = state.batches.find((batch) => batch.first === first && batch.last === last);
    if (repeated !== undefined) {
      // A real broker does not look: the records of the second batch would be lost without a word.
      if (!repeated.bytes.subarray(CLIENTS_FROM).equals(bytes.subarray(CLIENTS_FROM))) {
        throw new Error(`Sequences ${first} to ${last} were used for other bytes`);
      }
      return { errorCode: ErrorCode.NONE, baseOffset: repeated.offset };
    }
    const newest = state.batches[state.batches.length - 1]!;
    if (first !== (newest.last + 1) % SEQUENCES) return refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
    return null;
  }

  #remember(header: ReadBatch, bytes: Buffer, offset: number): void {
    if (header.producerId < 0n) return;
    let state = this.#producers.get(header.producerId);
    if (state === undefined || state.epoch !== header.producerEpoch) {
      state = { epoch: header.producerEpoch, batches: [] };
      this.#producers.set(header.producerId, state);
    }
    const first = header.baseSequence;
    const last = (first + header.recordCount - 1) % SEQUENCES;
    state.batches.push({ first, last, offset, bytes: Buffer.from(bytes) });
    if (state.batches.length > REMEMBERED_BATCHES) state.batches.shift();
  }
}
