import type { NewTopic } from "../protocol/create_topics.ts";
import { murmur2Partition } from "../../batch/murmur2.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Cluster } from "../cluster.ts";
import { topicConfigBy, unlessAborted } from "../cluster_requests.ts";
import { KafkaError, RequestError } from "../errors.ts";
import { ErrorCode, errorInfo } from "../protocol/error_codes.ts";
import { ProtocolError } from "../protocol/wire.ts";
import { PartitionProbe } from "../resolve/partition_probe.ts";
import { takeCommitted } from "./committed_records.ts";
import { fetchedBatches, readRecords } from "./record_codec.ts";

/** Of a topic that is created here. Sinks that share one wait for each other's transactions when they start. */
export const POSITION_PARTITIONS = 16;
/** Compaction leaves the newest segment alone: a start reads so much, and what is behind it. */
const SEGMENT_BYTES = 16 * 1_048_576;
const FETCH_BYTES = 1_048_576;
/** How long the leader holds an answer back while there is nothing new. */
const FETCH_WAIT_MS = 200;
/** An open transaction of another producer is waited for this long before it is mentioned. */
const TELL_WAITING_MS = 5_000;

export interface PositionTopicOptions {
  readonly cluster: Cluster;
  readonly topic: string;
  readonly transactionalId: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** The topic as it is created. */
export function newPositionTopic(name: string): NewTopic {
  return {
    name,
    partitions: POSITION_PARTITIONS,
    replicationFactor: -1,
    configs: { "cleanup.policy": "compact", "segment.bytes": String(SEGMENT_BYTES) },
  };
}

/** The topic that positions are stored in, and the partition of it that one transactional id uses. */
export class PositionTopic {
  readonly name: string;
  readonly #options: PositionTopicOptions;
  #isChecked = false;

  constructor(options: PositionTopicOptions) {
    this.#options = options;
    this.name = options.topic;
  }

  /** The partition of the id. Creates the topic where there is none. One try; rejects with KafkaError. */
  async partition(): Promise<number> {
    const { cluster, topic, transactionalId, signal } = this.#options;
    await unlessAborted(cluster.refresh([topic], "positions are stored in it"), signal);
    const found = cluster.topic(topic);
    if (found?.errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) await this.#create();
    const isUsable = found?.errorCode === ErrorCode.NONE ||
      found?.errorCode === ErrorCode.LEADER_NOT_AVAILABLE;
    if (!isUsable || found.partitions.length === 0) throw this.#refused(found?.errorCode, "use");
    await this.#check();
    const id = Buffer.from(transactionalId);
    return murmur2Partition(id, 0, id.length, found.partitions.length);
  }

  /**
   * Gives the committed records from `fromOffset` on to `take`, up to the end that the partition has now, and returns the offset of that end.
   * What aborted transactions left is left out. Waits while a transaction is open, and calls `onOpen` now and then; without it, ends there. Rejects
   * with KafkaError or as `onOpen` does; OFFSET_OUT_OF_RANGE when the partition has no such offset (any more).
   */
  async read(
    partition: number,
    fromOffset: number,
    take: (key: Buffer | null, value: Buffer | null) => void,
    onOpen: ((probe: PartitionProbe) => Promise<void>) | null,
  ): Promise<number> {
    const { cluster, topic, signal, log } = this.#options;
    try {
      const probe = await unlessAborted(PartitionProbe.open({ cluster, topic, partition }), signal);
      const endOffset = await unlessAborted(probe.highWatermark(), signal);
      let nextOffset = Math.max(fromOffset, await unlessAborted(probe.logStart(), signal));
      if (nextOffset > endOffset) throw new RequestError("OFFSET_OUT_OF_RANGE", "", { errorCode: 1 });
      const startMs = performance.now();
      for (let isTold = false; nextOffset < endOffset;) {
        const fetched = await unlessAborted(
          probe.fetch(nextOffset, FETCH_BYTES, FETCH_WAIT_MS, "read_committed"),
          signal,
        );
        const before = nextOffset;
        nextOffset = takeCommitted(fetched, nextOffset, take);
        if (nextOffset > before) continue;
        if (onOpen === null) break;
        // Nothing is left up to there: compaction may have taken the last records out.
        if (fetched.lastStableOffset >= endOffset && fetched.records.length === 0) break;
        await onOpen(probe);
        if (!isTold && performance.now() - startMs > TELL_WAITING_MS) {
          isTold = true;
          const where = `partition ${partition} of topic "${topic}"`;
          log.warn(`Waiting for a transaction of another producer in ${where} to end, to read positions`);
        }
      }
      return endOffset;
    } catch (error) {
      throw this.#explained(error, partition);
    }
  }

  /** Gives the records of this producer from `fromOffset` on to `take`, committed or not, up to the end that is replicated now. */
  async readOpen(
    probe: PartitionProbe,
    fromOffset: number,
    producerId: Buffer,
    take: (key: Buffer | null, value: Buffer | null) => void,
  ): Promise<void> {
    const { signal } = this.#options;
    const endOffset = await unlessAborted(probe.highWatermark(), signal);
    for (let nextOffset = fromOffset; nextOffset < endOffset;) {
      const { records } = await unlessAborted(probe.fetch(nextOffset, FETCH_BYTES, FETCH_WAIT_MS), signal);
      const before = nextOffset;
      for (const batch of fetchedBatches(records)) {
        nextOffset = Math.max(nextOffset, batch.endOffset);
        if (batch.isControl || !batch.producerId.equals(producerId)) continue;
        readRecords(batch, (offset, key, value) => {
          if (offset >= fromOffset) take(key, value);
        });
      }
      // Compaction may have taken the last records out.
      if (nextOffset === before) return;
    }
  }

  async #create(): Promise<never> {
    const { cluster, topic, log, signal } = this.#options;
    const wanted = newPositionTopic(topic);
    let why: string;
    try {
      const [answer] = await cluster.createTopics([wanted], signal);
      const errorCode = answer?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
      if (errorCode === ErrorCode.NONE || errorCode === ErrorCode.TOPIC_ALREADY_EXISTS) {
        if (errorCode === ErrorCode.NONE) log.info(`Created topic "${topic}" for positions`);
        // It is known a moment later.
        throw new RequestError("LEADER_NOT_AVAILABLE", `Topic "${topic}" was created just now`, {
          errorCode: ErrorCode.LEADER_NOT_AVAILABLE,
        });
      }
      const said = answer?.errorMessage ?? "";
      why = `${errorInfo(errorCode).name}${said === "" ? "" : ` (${said})`}`;
    } catch (error) {
      const isOwn = error instanceof RequestError && error.errorCode === ErrorCode.LEADER_NOT_AVAILABLE;
      if (!(error instanceof KafkaError) || isOwn || signal.aborted) throw error;
      why = error.message;
    }
    throw new RequestError(
      "topic-not-created",
      `Cannot create topic "${topic}" for positions: ${why}; nothing is read meanwhile`,
      {
        hint:
          `Give this user CREATE on it, or create it: kafka-topics --create --topic ${topic} --partitions ${POSITION_PARTITIONS} ` +
          `--config cleanup.policy=compact --bootstrap-server ${cluster.options.bootstrapServers[0]}`,
      },
    );
  }

  /** Says once that the brokers will delete positions. */
  async #check(): Promise<void> {
    if (this.#isChecked) return;
    const { cluster, topic, log, signal } = this.#options;
    const policy = await topicConfigBy(cluster, topic, "cleanup.policy", signal);
    this.#isChecked = true;
    if (policy === null || policy === "compact") return;
    log.warn(
      `Topic "${topic}" has cleanup.policy = "${policy}": positions of files that nothing is written to are deleted with time, and the files ` +
        `shipped again`,
      {
        hint:
          `kafka-configs --alter --topic ${topic} --add-config cleanup.policy=compact --bootstrap-server ${
            cluster.options.bootstrapServers[0]
          }`,
      },
    );
  }

  #refused(errorCode: number | undefined, what: string): KafkaError {
    const { topic } = this.#options;
    const info = errorInfo(errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR);
    return new RequestError(
      info.name,
      `Cannot ${what} topic "${topic}", in which positions are stored: the cluster answers ${info.name}`,
      { errorCode: info.code, hint: this.hintOf(info.code) },
    );
  }

  /** What an operator can do about a refusal that has to do with the topic. */
  hintOf(errorCode: number): string | null {
    return errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED
      ? `Give this user READ, WRITE and DESCRIBE on topic "${this.name}"`
      : errorInfo(errorCode).hint;
  }

  #explained(error: unknown, partition: number): unknown {
    if (error instanceof ProtocolError) {
      const message =
        `Cannot read positions from partition ${partition} of topic "${this.name}": ${error.message}`;
      return new RequestError("bad-answer", message, { cause: error });
    }
    if (error instanceof RequestError && error.errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED) {
      return this.#refused(error.errorCode, "read");
    }
    return error;
  }
}
