import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { WireReader, WireWriter } from "../../src/kafka/protocol/wire.ts";
import type { FakeAnswer, FakeBroker, FakeRequest } from "./fake_broker.ts";
import type { FakePartitionLog } from "./fake_partition.ts";

/** A question about one partition. */
export interface Inspected {
  readonly apiKey: number;
  readonly nodeId: number;
  readonly topic: string;
  readonly partition: number;
  /** That the client takes for the leader's; -1: not said. */
  readonly leaderEpoch: number;
}

interface Topics {
  readonly topics: ReadonlyMap<string, readonly FakePartitionLog[]>;
}

const NOT_CHECKED = -1;
/** As much as a Fetch answer holds while nothing is cut. */
const NO_LIMIT = Infinity;

/** What a leader tells about its logs: Fetch, ListOffsets, OffsetForLeaderEpoch, DescribeProducers, and DescribeConfigs of a broker. */
export class FakeInspection {
  readonly #kafka: Topics;
  /** READ right on all topics. */
  canRead = true;
  /** Milliseconds; null: this user may not know. */
  producerIdExpirationMs: number | null = 86_400_000;
  /** Called before each answer about a partition; not 0: the answer is this error. */
  refuse: (asked: Inspected) => number = () => 0;
  /** Bytes that a Fetch answer is cut to; a first batch comes whole all the same, as from Kafka. */
  fetchBytesMax = NO_LIMIT;
  /** Every question, in order. */
  readonly asked: Inspected[] = [];

  constructor(kafka: Topics) {
    this.#kafka = kafka;
  }

  serve(nodeId: number, broker: FakeBroker): void {
    broker.on(ApiKey.Fetch, (request) => this.#fetch(nodeId, request))
      .on(ApiKey.ListOffsets, (request) => this.#listOffsets(nodeId, request))
      .on(ApiKey.OffsetForLeaderEpoch, (request) => this.#epochEnds(nodeId, request))
      .on(ApiKey.DescribeProducers, (request) => this.#describeProducers(nodeId, request));
  }

  countOf(apiKey: number): number {
    return this.asked.filter((each) => each.apiKey === apiKey).length;
  }

  /** The log, or the error that a broker answers with. */
  #open(
    nodeId: number,
    apiKey: number,
    topic: string,
    partition: number,
    epoch: number,
  ): FakePartitionLog | number {
    const asked = { apiKey, nodeId, topic, partition, leaderEpoch: epoch };
    this.asked.push(asked);
    const refused = this.refuse(asked);
    if (refused !== 0) return refused;
    const needsRead = apiKey === ApiKey.Fetch || apiKey === ApiKey.DescribeProducers;
    if (needsRead && !this.canRead) return ErrorCode.TOPIC_AUTHORIZATION_FAILED;
    const log = this.#kafka.topics.get(topic)?.[partition];
    if (log === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    if (log.leader !== nodeId) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    if (epoch === NOT_CHECKED || epoch === log.leaderEpoch) return log;
    return epoch < log.leaderEpoch ? ErrorCode.FENCED_LEADER_EPOCH : ErrorCode.UNKNOWN_LEADER_EPOCH;
  }

  #fetch(nodeId: number, { apiKey, apiVersion, body }: FakeRequest): FakeAnswer {
    const reader = new WireReader(body, false);
    reader.int32();
    const waitMs = reader.int32();
    reader.raw(4 + 4);
    const isCommitted = reader.int8() === 1;
    if (apiVersion >= 7) reader.raw(8);
    reader.arrayLength(1);
    const topic = reader.string();
    reader.arrayLength(1);
    const partition = reader.int32();
    const epoch = apiVersion >= 9 ? reader.int32() : NOT_CHECKED;
    const offset = reader.int64();
    if (apiVersion >= 5) reader.int64();
    const sizeBytesMax = reader.int32();
    let log = this.#open(nodeId, apiKey, topic, partition, epoch);
    if (typeof log !== "number" && (offset < log.logStartOffset || offset > log.logEndOffset)) {
      log = ErrorCode.OFFSET_OUT_OF_RANGE;
    }
    const endOffset = typeof log === "number" ? 0 : isCommitted ? log.lastStableOffset : log.highWatermark;
    const records = typeof log === "number"
      ? Buffer.alloc(0)
      : this.#batchesFrom(log, offset, endOffset, sizeBytesMax);
    const writer = new WireWriter(false, records.length + 128);
    writer.int32(0);
    if (apiVersion >= 7) writer.int16(0).int32(0);
    writer.arrayLength(1).string(topic).arrayLength(1).int32(partition);
    const isError = typeof log === "number";
    writer.int16(isError ? log as number : 0);
    const told = isError ? null : log as FakePartitionLog;
    writer.int64(told?.highWatermark ?? -1).int64(told?.lastStableOffset ?? -1);
    if (apiVersion >= 5) writer.int64(told?.logStartOffset ?? -1);
    const aborted = isCommitted && told !== null
      ? told.aborted.filter((each) => each.endOffset > offset)
      : null;
    writer.arrayLength(aborted === null ? null : aborted.length);
    for (const { producerId, firstOffset } of aborted ?? []) {
      writer.int64(Number(producerId)).int64(firstOffset);
    }
    writer.bytesLength(records.length).raw(records);
    const isIdle = !isError && records.length === 0;
    return { body: Buffer.from(writer.slice()), ...(isIdle ? { delayMs: Math.min(waitMs, 20) } : {}) };
  }

  #batchesFrom(log: FakePartitionLog, offset: number, endOffset: number, sizeBytesMax: number): Buffer {
    const wanted = log.stored.filter((batch) => batch.endOffset > offset && batch.endOffset <= endOffset);
    const all = Buffer.concat(wanted.map(({ bytes }) => bytes));
    const limitBytes = Math.min(sizeBytesMax, this.fetchBytesMax);
    return all.subarray(0, Math.max(limitBytes, wanted[0]?.bytes.length ?? 0));
  }

  #listOffsets(nodeId: number, { apiKey, apiVersion, body }: FakeRequest): FakeAnswer {
    const reader = new WireReader(body, apiVersion >= 6);
    reader.raw(4 + 1);
    reader.arrayLength(1);
    const topic = reader.string();
    reader.arrayLength(1);
    const partition = reader.int32();
    const epoch = apiVersion >= 4 ? reader.int32() : NOT_CHECKED;
    const timestampMs = reader.int64();
    const log = this.#open(nodeId, apiKey, topic, partition, epoch);
    const isError = typeof log === "number";
    const offset = isError ? -1 : timestampMs === -2 ? log.logStartOffset : log.highWatermark;
    const writer = new WireWriter(apiVersion >= 6);
    writer.int32(0).arrayLength(1).string(topic).arrayLength(1).int32(partition);
    writer.int16(isError ? log : 0).int64(-1).int64(offset);
    if (apiVersion >= 4) writer.int32(isError ? -1 : log.leaderEpoch);
    return { body: Buffer.from(writer.tags().tags().tags().slice()) };
  }

  #epochEnds(nodeId: number, { apiKey, apiVersion, body }: FakeRequest): FakeAnswer {
    const reader = new WireReader(body, apiVersion >= 4);
    if (apiVersion >= 3) reader.int32();
    reader.arrayLength(1);
    const topic = reader.string();
    reader.arrayLength(1);
    const partition = reader.int32();
    const log = this.#open(nodeId, apiKey, topic, partition, reader.int32());
    const isError = typeof log === "number";
    const end = isError ? { leaderEpoch: -1, endOffset: -1 } : log.epochEnd(reader.int32());
    const writer = new WireWriter(apiVersion >= 4);
    writer.int32(0).arrayLength(1).string(topic).arrayLength(1).int16(isError ? log : 0).int32(partition);
    writer.int32(end.leaderEpoch).int64(end.endOffset);
    return { body: Buffer.from(writer.tags().tags().tags().slice()) };
  }

  #describeProducers(nodeId: number, { apiKey, body }: FakeRequest): FakeAnswer {
    const reader = new WireReader(body, true);
    const writer = new WireWriter(true);
    const topicCount = reader.arrayLength(1);
    writer.int32(0).arrayLength(topicCount);
    for (let t = 0; t < topicCount; t++) {
      const topic = reader.string();
      const partitions = reader.int32Array();
      reader.tags();
      writer.string(topic).arrayLength(partitions.length);
      for (const partition of partitions) {
        const log = this.#open(nodeId, apiKey, topic, partition, NOT_CHECKED);
        const producers = typeof log === "number" ? [] : log.producers();
        writer.int32(partition).int16(typeof log === "number" ? log : 0).string(null);
        writer.arrayLength(producers.length);
        for (const each of producers) {
          writer.int64(Number(each.producerId)).int32(each.epoch).int32(each.lastSequence);
          writer.int64(each.lastTimestampMs).int32(-1).int64(each.transactionStartOffset).tags();
        }
        writer.tags();
      }
      writer.tags();
    }
    return { body: Buffer.from(writer.tags().slice()) };
  }

  /** DescribeConfigs of a broker: `producer.id.expiration.ms`. */
  describeBroker(name: string, apiVersion: number): FakeAnswer {
    const value = this.producerIdExpirationMs;
    const writer = new WireWriter(apiVersion >= 4);
    writer.int32(0).arrayLength(1).int16(value === null ? ErrorCode.CLUSTER_AUTHORIZATION_FAILED : 0).string(
      null,
    );
    writer.int8(4).string(name).arrayLength(value === null ? 0 : 1);
    if (value !== null) {
      writer.string("producer.id.expiration.ms").string(String(value)).boolean(false).int8(5).boolean(false);
      writer.arrayLength(0);
      if (apiVersion >= 3) writer.int8(3).string(null);
      writer.tags();
    }
    return { body: Buffer.from(writer.tags().tags().slice()) };
  }
}
