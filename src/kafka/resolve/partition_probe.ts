import type { ProducerNumbers } from "../batch_header.ts";
import type { BrokerConnection } from "../broker_connection.ts";
import type { Cluster } from "../cluster.ts";
import { brokerRefusal, RequestError } from "../errors.ts";
import { ApiKey } from "../protocol/api_keys.ts";
import {
  type ActiveProducer,
  decodeDescribeProducersResponse,
  DESCRIBE_PRODUCERS_VERSION,
  encodeDescribeProducers,
} from "../protocol/describe_producers.ts";
import { ErrorCode } from "../protocol/error_codes.ts";
import {
  decodeFetchResponse,
  encodeFetch,
  FETCH_VERSION_MAX,
  FETCH_VERSION_MIN,
  type FetchedPartition,
} from "../protocol/fetch.ts";
import {
  decodeListOffsetsResponse,
  EARLIEST_TIMESTAMP,
  encodeListOffsets,
  LATEST_TIMESTAMP,
  LIST_OFFSETS_VERSION_MAX,
  LIST_OFFSETS_VERSION_MIN,
} from "../protocol/list_offsets.ts";
import {
  decodeMetadataResponse,
  encodeMetadata,
  METADATA_VERSION_MAX,
  METADATA_VERSION_MIN,
} from "../protocol/metadata.ts";
import {
  decodeOffsetForLeaderEpochResponse,
  encodeOffsetForLeaderEpoch,
  type LeaderEpochEnd,
  OFFSET_FOR_LEADER_EPOCH_VERSION_MAX,
  OFFSET_FOR_LEADER_EPOCH_VERSION_MIN,
} from "../protocol/offset_for_leader_epoch.ts";
import { askBroker, unusable } from "./ask_broker.ts";
import type { Evidence, Listing } from "./verdict.ts";

/** A transaction as a partition's leader knows it. */
export interface OpenTransaction {
  /** Of the last batch that it wrote here. */
  readonly epoch: number;
  /** Of its first record here. */
  readonly startOffset: number;
}

export interface PartitionPlace {
  readonly cluster: Cluster;
  readonly topic: string;
  readonly partition: number;
}

/**
 * Questions to the leader of a partition, at the leader epoch that the leader itself named when this was opened: where the request can
 * carry it, a leader of another epoch refuses. Every method rejects with KafkaError; after an error that may mean another leader
 * (`errorInfo`), refresh the metadata and open a new one.
 */
export class PartitionProbe {
  readonly #place: PartitionPlace;
  readonly #connection: BrokerConnection;
  readonly clusterId: string | null;
  /** Null before Kafka 2.8. */
  readonly topicId: string | null;
  /** -1 before Kafka 2.1. */
  readonly leaderEpoch: number;

  private constructor(
    place: PartitionPlace,
    connection: BrokerConnection,
    identity: Pick<PartitionProbe, "clusterId" | "topicId" | "leaderEpoch">,
  ) {
    this.#place = place;
    this.#connection = connection;
    this.clusterId = identity.clusterId;
    this.topicId = identity.topicId;
    this.leaderEpoch = identity.leaderEpoch;
  }

  /** Goes to the leader by the cluster's metadata, and asks it for its own: whether it leads, the ids, the epoch. */
  static async open(place: PartitionPlace): Promise<PartitionProbe> {
    const { cluster, topic, partition } = place;
    if (cluster.leaderOf(topic, partition) < 0) await cluster.refresh([topic], "the leader is not known");
    const nodeId = cluster.leaderOf(topic, partition);
    const what = `ask the leader of partition ${partition} of topic "${topic}"`;
    if (nodeId < 0) throw new RequestError("leader-unknown", `Cannot ${what}: there is none now`);
    const connection = await cluster.connectionTo(nodeId);
    const apiVersion = connection.versionFor(ApiKey.Metadata, METADATA_VERSION_MIN, METADATA_VERSION_MAX);
    const answer = await askBroker(connection, {
      apiKey: ApiKey.Metadata,
      apiVersion,
      body: encodeMetadata([topic], apiVersion),
      decode: (payload) => decodeMetadataResponse(payload, apiVersion),
    }, cluster.options.requestTimeoutMs);
    const known = answer.topics.find(({ name }) => name === topic);
    const found = known?.partitions.find(({ id }) => id === partition);
    const errorCode = known?.errorCode !== ErrorCode.NONE
      ? known?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
      : found?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    // A replica that is missing does not matter here.
    if (errorCode !== ErrorCode.NONE && errorCode !== ErrorCode.REPLICA_NOT_AVAILABLE) {
      throw brokerRefusal(errorCode, what, connection.broker, null);
    }
    if (found!.leader !== nodeId) {
      throw brokerRefusal(ErrorCode.NOT_LEADER_OR_FOLLOWER, what, connection.broker, null);
    }
    return new PartitionProbe(place, connection, {
      clusterId: answer.clusterId,
      topicId: known!.topicId,
      leaderEpoch: found!.leaderEpoch,
    });
  }

  /** Everything that is asked before a look into the log. The log end is read after the listing, the high watermark after the log end. */
  async evidence(producer: ProducerNumbers): Promise<Evidence> {
    const listing = await this.listing(producer);
    const logEndOffset = await this.logEnd();
    const [highWatermark, logStartOffset] = await Promise.all([this.highWatermark(), this.logStart()]);
    const { clusterId, topicId, leaderEpoch } = this;
    return { clusterId, topicId, leaderEpoch, listing, logEndOffset, highWatermark, logStartOffset };
  }

  /** What the leader remembers of a producer. */
  async listing(producer: ProducerNumbers): Promise<Listing> {
    const producers = await this.#producers();
    if (producers === "unsupported" || producers === "denied") return { kind: producers };
    const own = findProducer(producers, producer);
    if (own === undefined) return { kind: "absent" };
    const { producerEpoch: epoch, lastSequence, lastTimestampMs } = own;
    return { kind: "listed", epoch, lastSequence, lastTimestampMs };
  }

  /** Of the producer: a transaction that has no marker here yet. "unknown": the broker does not tell (before Kafka 2.8, or without READ). */
  async openTransaction(
    producer: Pick<ProducerNumbers, "producerIdHigh" | "producerIdLow">,
  ): Promise<OpenTransaction | "none" | "unknown"> {
    const producers = await this.#producers();
    if (producers === "unsupported" || producers === "denied") return "unknown";
    const own = findProducer(producers, producer);
    if (own === undefined || own.transactionStartOffset < 0) return "none";
    return { epoch: own.producerEpoch, startOffset: own.transactionStartOffset };
  }

  async #producers(): Promise<readonly ActiveProducer[] | "unsupported" | "denied"> {
    const { topic, partition } = this.#place;
    const apiKey = ApiKey.DescribeProducers;
    const apiVersion = this.#connection.highestVersion(
      apiKey,
      DESCRIBE_PRODUCERS_VERSION,
      DESCRIBE_PRODUCERS_VERSION,
    );
    if (apiVersion === null) return "unsupported";
    const body = encodeDescribeProducers([{ name: topic, partitions: [partition] }]);
    const { partitions } = await this.#ask(apiKey, apiVersion, body, decodeDescribeProducersResponse);
    const found = this.#own(apiKey, partitions);
    if (found.errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED) return "denied";
    this.#check(found.errorCode, "list the producers", found.errorMessage);
    return found.producers;
  }

  /** End of the leader's log, replicated or not; null when the broker does not tell (before Kafka 2.3, where only brokers may ask). */
  async logEnd(): Promise<number | null> {
    if (this.leaderEpoch < 0) return null;
    const end = await this.epochEnd(this.leaderEpoch);
    return end === null || end.endOffset < 0 ? null : end.endOffset;
  }

  /** Up to where the leader has records of this epoch or an older one; null when the broker does not tell. */
  async epochEnd(leaderEpoch: number): Promise<LeaderEpochEnd | null> {
    const { topic, partition } = this.#place;
    const apiKey = ApiKey.OffsetForLeaderEpoch;
    const apiVersion = this.#connection.highestVersion(
      apiKey,
      OFFSET_FOR_LEADER_EPOCH_VERSION_MIN,
      OFFSET_FOR_LEADER_EPOCH_VERSION_MAX,
    );
    if (apiVersion === null || this.leaderEpoch < 0) return null;
    const question = { topic, partition, currentLeaderEpoch: this.leaderEpoch, leaderEpoch };
    const body = encodeOffsetForLeaderEpoch(question, apiVersion);
    const decode = (payload: Buffer) => decodeOffsetForLeaderEpochResponse(payload, apiVersion);
    const { ends } = await this.#ask(apiKey, apiVersion, body, decode);
    const end = this.#own(apiKey, ends);
    if (end.errorCode === ErrorCode.CLUSTER_AUTHORIZATION_FAILED) return null;
    this.#check(end.errorCode, "read the end of the log", null);
    return end;
  }

  /** End of what is replicated. */
  highWatermark(): Promise<number> {
    return this.#offsetAt(LATEST_TIMESTAMP);
  }

  /** First offset that is still in the log. */
  logStart(): Promise<number> {
    return this.#offsetAt(EARLIEST_TIMESTAMP);
  }

  async #offsetAt(timestampMs: number): Promise<number> {
    const { topic, partition } = this.#place;
    const apiKey = ApiKey.ListOffsets;
    const apiVersion = this.#connection.versionFor(
      apiKey,
      LIST_OFFSETS_VERSION_MIN,
      LIST_OFFSETS_VERSION_MAX,
    );
    const asked = [{ name: topic, partitions: [{ partition, timestampMs, leaderEpoch: this.leaderEpoch }] }];
    const body = encodeListOffsets(asked, "read_uncommitted", apiVersion);
    const decode = (payload: Buffer) => decodeListOffsetsResponse(payload, apiVersion);
    const { offsets } = await this.#ask(apiKey, apiVersion, body, decode);
    const found = this.#own(apiKey, offsets);
    this.#check(found.errorCode, "list the offsets", null);
    if (found.offset < 0) throw unusable(this.#connection, apiKey, `offset ${found.offset}`);
    return found.offset;
  }

  /** Batches from `offset` on, replicated ones only; waits up to `waitMs` for the first. TOPIC_AUTHORIZATION_FAILED: no READ right. */
  async fetch(
    offset: number,
    sizeBytesMax: number,
    waitMs: number,
    isolation: "read_uncommitted" | "read_committed" = "read_uncommitted",
  ): Promise<FetchedPartition> {
    const { topic, partition } = this.#place;
    const apiKey = ApiKey.Fetch;
    const apiVersion = this.#connection.versionFor(apiKey, FETCH_VERSION_MIN, FETCH_VERSION_MAX);
    const request = {
      topic,
      partition,
      leaderEpoch: this.leaderEpoch,
      offset,
      sizeBytesMax,
      waitMs,
      isolation,
    };
    const body = encodeFetch(request, apiVersion);
    const decode = (payload: Buffer) => decodeFetchResponse(payload, apiVersion);
    const answer = await this.#ask(apiKey, apiVersion, body, decode, waitMs);
    this.#check(answer.errorCode, "read", null);
    const fetched = this.#own(apiKey, answer.partitions);
    this.#check(fetched.errorCode, "read", null);
    return fetched;
  }

  #ask<T extends { readonly throttleMs: number }>(
    apiKey: number,
    apiVersion: number,
    body: readonly Buffer[],
    decode: (payload: Buffer) => T,
    waitMs = 0,
  ): Promise<T> {
    const timeoutMs = this.#place.cluster.options.requestTimeoutMs + waitMs;
    return askBroker(this.#connection, { apiKey, apiVersion, body, decode }, timeoutMs);
  }

  #own<T extends { readonly topic: string; readonly partition: number }>(
    apiKey: number,
    answered: readonly T[],
  ): T {
    const { topic, partition } = this.#place;
    const own = answered.find((each) => each.topic === topic && each.partition === partition);
    if (own === undefined) throw unusable(this.#connection, apiKey, "the partition is missing in it");
    return own;
  }

  #check(errorCode: number, action: string, detail: string | null): void {
    if (errorCode === ErrorCode.NONE) return;
    const { topic, partition } = this.#place;
    const what = `${action} of partition ${partition} of topic "${topic}"`;
    throw brokerRefusal(errorCode, what, this.#connection.broker, detail);
  }
}

/** The producer with this id; undefined: not listed. */
export function findProducer(
  producers: readonly ActiveProducer[],
  id: Pick<ProducerNumbers, "producerIdHigh" | "producerIdLow">,
): ActiveProducer | undefined {
  return producers.find(({ producerId }) =>
    producerId.readInt32BE(0) === id.producerIdHigh && producerId.readInt32BE(4) === id.producerIdLow
  );
}
