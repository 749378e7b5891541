import type { TransactionPartition } from "../protocol/add_partitions_to_txn.ts";
import type { PositionChange } from "./transaction_positions.ts";

/**
 * Records of the position topic. All of a transactional id are in one partition, so that one marker of a transaction makes all of them count:
 *
 *     key      transactional id | 0 | source | 0 | stream id | 0 | part        a part of a stream's position
 *     value    version uint8 (1) | parts uint32 | number of the transaction uint48 | bytes
 *
 *     key      transactional id | 0                                            the marker, written by every transaction
 *     value    version uint8 (1) | run, 16 random bytes | number of the transaction uint48 | host name { | 0 | topic:partition,partition... }
 *
 * A value that is larger than PART_BYTES_MAX is cut into parts. Parts that a longer value has left behind have another number than part 0, and
 * count no more. The marker says which process came last, and how far it is: what became of a transaction whose end was not answered. And where
 * else the transaction wrote: for whoever has to end it when the brokers did not.
 */
const VERSION = 1;
const PART_HEADER_BYTES = 11;
const RUN_BYTES = 16;
/** Far below what brokers take by default, with a key and other records beside it. */
export const PART_BYTES_MAX = 262_144;

/** A record of the position topic; `value` null: the key is forgotten. */
export interface PositionRecord {
  readonly key: Buffer;
  readonly value: Buffer | null;
}

/** Who wrote last, and which of its transactions that was. */
export interface PositionMarker {
  /** 32 hex digits, other ones for every process. */
  readonly run: string;
  readonly number: number;
  readonly host: string;
  /** Of events that the transaction holds. */
  readonly partitions: readonly TransactionPartition[];
}

/** What was read of one transactional id. */
export class StoredPositions {
  readonly #prefix: Buffer;
  readonly #parts = new Map<string, Map<number, Buffer>>();
  marker: PositionMarker | null = null;

  constructor(transactionalId: string) {
    this.#prefix = Buffer.from(`${transactionalId}\u0000`);
  }

  /** Takes a committed record, in the order of the log; those of other ids are left out. Throws an Error when it is of a later version. */
  take(key: Buffer | null, value: Buffer | null): void {
    if (key === null || !key.subarray(0, this.#prefix.length).equals(this.#prefix)) return;
    const rest = key.toString("utf8", this.#prefix.length);
    if (rest === "") {
      this.marker = value === null ? null : readMarker(value);
      return;
    }
    const cut = rest.lastIndexOf("\u0000");
    const stream = rest.slice(0, cut);
    const part = Number(rest.slice(cut + 1));
    const parts = this.#parts.get(stream) ?? new Map<number, Buffer>();
    if (value === null) parts.delete(part);
    else parts.set(part, Buffer.from(value));
    if (parts.size === 0) this.#parts.delete(stream);
    else this.#parts.set(stream, parts);
  }

  /** Of this id. */
  isMarker(key: Buffer | null): boolean {
    return key !== null && key.equals(this.#prefix);
  }

  /** The positions by the key of the stream. Throws an Error when one cannot be used. */
  values(): Map<string, Buffer> {
    const values = new Map<string, Buffer>();
    for (const [stream, parts] of this.#parts) {
      const first = parts.get(0);
      // What is left of one that was forgotten.
      if (first === undefined) continue;
      const { count, number } = readPartHeader(first);
      const bytes: Buffer[] = [];
      for (let part = 0; part < count; part++) {
        const found = parts.get(part);
        if (found === undefined || readPartHeader(found).number !== number) {
          throw new Error(`part ${part} of ${count} of a position is missing`);
        }
        bytes.push(found.subarray(PART_HEADER_BYTES));
      }
      values.set(stream, Buffer.concat(bytes));
    }
    return values;
  }

  /** How many parts are stored of each stream. */
  partCounts(): Map<string, number> {
    return new Map([...this.#parts].map(([stream, parts]) => [stream, Math.max(...parts.keys()) + 1]));
  }
}

/** Makes records of changes, and remembers of how many parts each position consists. */
export class PositionRecordWriter {
  readonly #transactionalId: string;
  readonly #partCounts: Map<string, number>;

  constructor(transactionalId: string, partCounts: Map<string, number>) {
    this.#transactionalId = transactionalId;
    this.#partCounts = partCounts;
  }

  /** The records of one transaction, the marker last. Whether they count is decided later: parts are remembered in any case. */
  records(changes: readonly PositionChange[], marker: PositionMarker): PositionRecord[] {
    const records: PositionRecord[] = [];
    for (const { key, value } of changes) {
      const count = value === null ? 0 : Math.max(1, Math.ceil(value.length / PART_BYTES_MAX));
      for (let part = 0; part < count; part++) {
        const bytes = value!.subarray(part * PART_BYTES_MAX, (part + 1) * PART_BYTES_MAX);
        records.push({ key: this.#key(key, part), value: partOf(bytes, count, marker.number) });
      }
      // One that is not there takes a tombstone as well; one that was forgotten by a transaction that failed must not be left.
      const before = this.#partCounts.get(key) ?? 0;
      for (let part = count; part < before; part++) {
        records.push({ key: this.#key(key, part), value: null });
      }
      this.#partCounts.set(key, Math.max(before, count));
    }
    records.push({ key: Buffer.from(`${this.#transactionalId}\u0000`), value: markerValue(marker) });
    return records;
  }

  /** The transaction of the last records is committed: parts that were forgotten with it need no tombstone again. */
  committed(changes: readonly PositionChange[]): void {
    for (const { key, value } of changes) {
      if (value === null) this.#partCounts.delete(key);
      else this.#partCounts.set(key, Math.max(1, Math.ceil(value.length / PART_BYTES_MAX)));
    }
  }

  #key(stream: string, part: number): Buffer {
    return Buffer.from(`${this.#transactionalId}\u0000${stream}\u0000${part}`);
  }
}

function partOf(bytes: Buffer, count: number, number: number): Buffer {
  const value = Buffer.allocUnsafe(PART_HEADER_BYTES + bytes.length);
  value[0] = VERSION;
  value.writeUInt32BE(count, 1);
  value.writeUIntBE(number, 5, 6);
  bytes.copy(value, PART_HEADER_BYTES);
  return value;
}

function readPartHeader(value: Buffer): { count: number; number: number } {
  checkVersion(value, PART_HEADER_BYTES);
  return { count: value.readUInt32BE(1), number: value.readUIntBE(5, 6) };
}

function markerValue({ run, number, host, partitions }: PositionMarker): Buffer {
  const head = Buffer.allocUnsafe(1 + RUN_BYTES + 6);
  head[0] = VERSION;
  head.write(run, 1, "hex");
  head.writeUIntBE(number, 1 + RUN_BYTES, 6);
  const topics = new Map<string, number[]>();
  for (const { topic, partition } of partitions) {
    const ids = topics.get(topic);
    if (ids === undefined) topics.set(topic, [partition]);
    else ids.push(partition);
  }
  const texts = [host, ...[...topics].map(([topic, ids]) => `${topic}:${ids.join(",")}`)];
  return Buffer.concat([head, Buffer.from(texts.join("\u0000"))]);
}

function readMarker(value: Buffer): PositionMarker {
  checkVersion(value, 1 + RUN_BYTES + 6);
  const [host, ...topics] = value.toString("utf8", 1 + RUN_BYTES + 6).split("\u0000");
  return {
    run: value.toString("hex", 1, 1 + RUN_BYTES),
    number: value.readUIntBE(1 + RUN_BYTES, 6),
    host: host!,
    partitions: topics.flatMap((text) => {
      const [, topic, ids] = /^([^:]+):(\d+(?:,\d+)*)$/u.exec(text) ?? [];
      if (topic === undefined) throw new Error("it is damaged");
      return ids!.split(",").map((id) => ({ topic, partition: Number(id) }));
    }),
  };
}

function checkVersion(value: Buffer, bytesMin: number): void {
  const version = value[0] ?? 0;
  if (version > VERSION) {
    throw new Error(
      `it has version ${version}, and this shipper knows ${VERSION}: run the newer one that wrote it`,
    );
  }
  if (version !== VERSION || value.length < bytesMin) throw new Error("it is damaged");
}
