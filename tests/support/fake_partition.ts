import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { type ReadBatch, readBatchHeader, readRecords } from "./record_batches.ts";

/** Batches of a producer that a partition remembers, as brokers do. */
const REMEMBERED_BATCHES = 5;
const SEQUENCES = 0x8000_0000;

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

export interface FakeRecord {
  readonly key: string | null;
  readonly value: string;
}

/** A partition's log with the de-duplication of a real broker (ProducerStateManager), as far as a client can see it. */
export class FakePartitionLog {
  readonly id: number;
  leader: number;
  leaderEpoch = 0;
  /** What was appended, in order. */
  readonly records: FakeRecord[] = [];
  /** Headers of what was appended. */
  readonly batches: ReadBatch[] = [];
  readonly #producers = new Map<bigint, ProducerState>();

  constructor(id: number, leader: number) {
    this.id = id;
    this.leader = leader;
  }

  get values(): string[] {
    return this.records.map((record) => record.value);
  }

  /** Appends a batch, or recognises or refuses it. Throws when it is no batch at all. */
  append(bytes: Buffer): { errorCode: number; baseOffset: number } {
    const header = readBatchHeader(bytes);
    const records = readRecords(header.payload, header.recordCount);
    const done = this.#recognise(header, bytes);
    if (done !== null) return done;
    const baseOffset = this.records.length;
    for (const { key, value } of records) {
      this.records.push({ key: key === null ? null : String(key), value: String(value) });
    }
    this.batches.push(header);
    this.#remember(header, bytes, baseOffset);
    return { errorCode: ErrorCode.NONE, baseOffset };
  }

  /** As a broker does after a day, or after a restart without a snapshot. */
  forgetProducers(): void {
    this.#producers.clear();
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
      if (!repeated.bytes.equals(bytes)) {
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
