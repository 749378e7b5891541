import type { KafkaSinkConfig } from "../../config/config.ts";
import { sequenceAfter } from "../batch_header.ts";
import type { Cluster } from "../cluster.ts";
import { brokerRefusal, RequestError } from "../errors.ts";
import { PartitionSender } from "../partition_sender.ts";
import { ApiKey } from "../protocol/api_keys.ts";
import { ErrorCode } from "../protocol/error_codes.ts";
import {
  decodeProduceResponse,
  encodeProduce,
  PRODUCE_VERSION_MAX_TV1,
  PRODUCE_VERSION_MIN,
  PRODUCE_VERSION_TV2,
} from "../protocol/produce.ts";
import { askBroker, unusable } from "../resolve/ask_broker.ts";
import type { TransactionIdentity } from "./coordinator.ts";
import type { PositionRecord } from "./position_records.ts";
import type { PositionTopic } from "./position_topic.ts";
import { encodeTransactionalBatch } from "./record_codec.ts";

/** Records of one batch together: half of what a topic takes by default. One record is always less. */
const BATCH_BYTES_MAX = 524_288;

export interface PositionWriterOptions {
  readonly cluster: Cluster;
  readonly config: KafkaSinkConfig;
  readonly topic: PositionTopic;
  readonly partition: number;
  /** What the writer before had. */
  readonly lastOffset: number;
  readonly now: () => number;
}

/** Writes positions to their partition, one batch after the other. */
export class PositionWriter {
  readonly partition: number;
  readonly #options: PositionWriterOptions;
  readonly #sequences: PartitionSender;
  /** Offset of the last batch that was written. */
  lastOffset: number;

  constructor(options: PositionWriterOptions) {
    this.#options = options;
    this.partition = options.partition;
    this.lastOffset = options.lastOffset;
    this.#sequences = new PartitionSender(options.topic.name, options.partition);
  }

  /** Cuts records into batches. */
  batchesOf(records: readonly PositionRecord[]): PositionRecord[][] {
    const batches: PositionRecord[][] = [];
    let bytes = Infinity;
    for (const record of records) {
      const recordBytes = record.key.length + (record.value?.length ?? 0);
      bytes += recordBytes;
      if (bytes <= BATCH_BYTES_MAX) batches.at(-1)!.push(record);
      else {
        batches.push([record]);
        bytes = recordBytes;
      }
    }
    return batches;
  }

  /** Writes one batch; resolves when all replicas in sync have it. Rejects with KafkaError: then it may be written or not. */
  async write(records: readonly PositionRecord[], identity: TransactionIdentity): Promise<void> {
    const { cluster, config, topic, now } = this.#options;
    const what = `write positions to partition ${this.partition} of topic "${topic.name}"`;
    const leader = cluster.leaderOf(topic.name, this.partition);
    if (leader < 0) throw new RequestError("leader-unknown", `Cannot ${what}: it has no leader`);
    const connection = await cluster.connectionTo(leader);
    const apiVersion = identity.isVersion2
      ? connection.versionFor(ApiKey.Produce, PRODUCE_VERSION_TV2, PRODUCE_VERSION_TV2)
      : connection.versionFor(ApiKey.Produce, PRODUCE_VERSION_MIN, PRODUCE_VERSION_MAX_TV1);
    const numbers = this.#sequences.nextNumbers(identity);
    const batch = encodeTransactionalBatch(records, numbers, now());
    const answer = await askBroker(connection, {
      apiKey: ApiKey.Produce,
      apiVersion,
      body: encodeProduce({
        transactionalId: config.transactionalId,
        acks: -1,
        timeoutMs: config.requestTimeoutMs,
        topics: [{ name: topic.name, partitions: [{ partition: this.partition, records: [batch] }] }],
      }, apiVersion),
      decode: (payload) => decodeProduceResponse(payload, apiVersion),
    }, config.socketTimeoutMs);
    const result = answer.partitions.find((each) =>
      each.topic === topic.name && each.partition === this.partition
    );
    if (result === undefined) throw unusable(connection, ApiKey.Produce, "the partition is missing in it");
    if (result.errorCode !== ErrorCode.NONE) {
      const refusal = brokerRefusal(result.errorCode, what, connection.broker, result.errorMessage);
      throw new RequestError(refusal.code, refusal.message, {
        errorCode: result.errorCode,
        broker: connection.broker,
        hint: topic.hintOf(result.errorCode),
      });
    }
    this.#sequences.nextSequence = sequenceAfter(numbers.baseSequence, records.length);
    this.lastOffset = result.baseOffset;
  }
}
