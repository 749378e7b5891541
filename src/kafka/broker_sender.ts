import { crashPoint } from "../telemetry/crash_point.ts";
import type { Log } from "../telemetry/log.ts";
import type { BrokerConnection } from "./broker_connection.ts";
import type { Cluster } from "./cluster.ts";
import { KafkaError } from "./errors.ts";
import type { PartitionSender } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";
import { ApiKey } from "./protocol/api_keys.ts";
import { encodeApiVersions } from "./protocol/api_versions.ts";
import {
  decodeProduceResponse,
  encodeProduce,
  PRODUCE_VERSION_MAX,
  PRODUCE_VERSION_MIN,
  type ProducePartition,
  type ProduceResult,
} from "./protocol/produce.ts";

/** Record batches of one Produce request together; brokers take 100 MiB, but memory and fairness want less. */
export const REQUEST_BYTES_MAX = 8 * 1_048_576;

export interface BrokerSenderOptions {
  readonly nodeId: number;
  readonly cluster: Cluster;
  readonly acks: -1 | 0 | 1;
  /** How long the broker may wait for its replicas. */
  readonly requestTimeoutMs: number;
  /** How long to wait for the answer in all. */
  readonly answerTimeoutMs: number;
  readonly maxInFlight: number;
  /** Pause after a failed try to connect, whatever the reason. */
  readonly retryIntervalMs: number;
  readonly log: Log;
  /** The transaction that batches belong to: its id, and the versions of Produce that may be used. Null or left out: none. */
  readonly transaction?: () => ProduceTransaction | null;
  /** Numbers the batch if it has none yet; called right before its first attempt. */
  readonly prepare: (queue: PartitionSender, batch: ProduceBatch) => void;
  /** The broker answered for this partition. `result` is null under acks = none: written to the socket. */
  readonly onAnswer: (queue: PartitionSender, batch: ProduceBatch, result: ProduceResult | null) => void;
  /** No usable answer. The batch may or may not have been written. */
  readonly onFailure: (queue: PartitionSender, batch: ProduceBatch, error: KafkaError) => void;
  /** No connection could be made; nothing was sent. Called once for each failed try. */
  readonly onUnreachable: (error: KafkaError) => void;
  /** The broker asks to wait: a quota is used up (KIP-219). */
  readonly onThrottled: (throttleMs: number, broker: string) => void;
  /** Something changed that may allow more to be sent. */
  readonly onReady: () => void;
}

/** What a Produce request of a transaction needs. */
export interface ProduceTransaction {
  readonly transactionalId: string;
  readonly versionMin: number;
  readonly versionMax: number;
}

/** What goes into one request: partitions with their head batch. */
interface Load {
  readonly queues: PartitionSender[];
  readonly batches: ProduceBatch[];
}

/** Sends Produce requests to one broker: every partition of it that is ready goes into the same request. */
export class BrokerSender {
  readonly #options: BrokerSenderOptions;
  /**
   * Requests of this sender that are not answered. Others' on the same connection (metadata, the health check) do not count: their end
   * tells nobody here, and a limit that they had reached would never be looked at again.
   */
  #inFlightCount = 0;
  /** Also during the pause after a failed try. */
  #isConnecting = false;
  #isClosed = false;
  #pauseTimer: ReturnType<typeof setTimeout> | null = null;
  /** The connection over which it is known to be the cluster that it was. */
  #known: BrokerConnection | null = null;

  constructor(options: BrokerSenderOptions) {
    this.#options = options;
  }

  /** Sends the head batches of these partitions, as many as the connection takes now. The rest is offered again after `onReady`. */
  send(queues: readonly PartitionSender[]): void {
    if (this.#isConnecting) return;
    const connection = this.#options.cluster.openConnection(this.#options.nodeId);
    if (connection === null) {
      this.#connect();
      return;
    }
    // The first one is made when metadata was just asked for.
    this.#known ??= connection;
    if (connection !== this.#known) {
      this.#lookAgain(connection);
      return;
    }
    let from = 0;
    while (from < queues.length && this.#inFlightCount < this.#options.maxInFlight) {
      const load = this.#nextLoad(queues, from);
      from += load.queues.length;
      this.#sendLoad(connection, load);
    }
  }

  /**
   * For acks = none: resolves when the broker has worked on all that was written to it. It takes the requests of a connection one after the
   * other, so that the answer to one more says it. Rejects with KafkaError when none comes.
   */
  async waitUntilRead(): Promise<void> {
    const connection = this.#known;
    if (connection === null || !connection.isOpen) return;
    await connection.request(ApiKey.ApiVersions, 0, encodeApiVersions("", "", 0), {
      timeoutMs: this.#options.answerTimeoutMs,
    });
  }

  close(): void {
    this.#isClosed = true;
    if (this.#pauseTimer !== null) clearTimeout(this.#pauseTimer);
  }

  #nextLoad(queues: readonly PartitionSender[], from: number): Load {
    const load: Load = { queues: [], batches: [] };
    let bytes = 0;
    for (let i = from; i < queues.length; i++) {
      const queue = queues[i]!;
      const batch = queue.sealed[0]!;
      this.#options.prepare(queue, batch);
      bytes += batch.wireBytes().length;
      if (bytes > REQUEST_BYTES_MAX && load.queues.length > 0) break;
      load.queues.push(queue);
      load.batches.push(batch);
    }
    return load;
  }

  #sendLoad(connection: BrokerConnection, load: Load): void {
    const { acks, requestTimeoutMs, answerTimeoutMs } = this.#options;
    this.#inFlightCount++;
    for (const batch of load.batches) {
      batch.isInFlight = true;
      batch.attemptCount++;
    }
    let apiVersion: number;
    let sent: Promise<Buffer>;
    try {
      const transaction = this.#options.transaction?.() ?? null;
      apiVersion = connection.versionFor(
        ApiKey.Produce,
        transaction?.versionMin ?? PRODUCE_VERSION_MIN,
        transaction?.versionMax ?? PRODUCE_VERSION_MAX,
      );
      const transactionalId = transaction?.transactionalId ?? null;
      const body = encodeProduce(
        { transactionalId, acks, timeoutMs: requestTimeoutMs, topics: groupByTopic(load) },
        apiVersion,
      );
      sent = connection.request(ApiKey.Produce, apiVersion, body, {
        timeoutMs: answerTimeoutMs,
        expectResponse: acks !== 0,
      });
    } catch (error) {
      this.#fail(load, error);
      return;
    }
    if (load.batches.some((batch) => batch.isRecovered)) crashPoint("after_resend");
    crashPoint("after_send");
    sent.then(
      (payload) => this.#answer(connection, load, payload, apiVersion),
      (error: unknown) => this.#fail(load, error),
    ).catch((error: unknown) =>
      this.#options.log.error(`Cannot handle an answer of broker ${connection.broker}: ${error}`)
    );
  }

  #answer(connection: BrokerConnection, load: Load, payload: Buffer, apiVersion: number): void {
    if (this.#options.acks === 0) {
      this.#inFlightCount--;
      for (let i = 0; i < load.queues.length; i++) {
        this.#options.onAnswer(load.queues[i]!, load.batches[i]!, null);
      }
      this.#options.onReady();
      return;
    }
    let response: ReturnType<typeof decodeProduceResponse>;
    try {
      response = decodeProduceResponse(payload, apiVersion);
    } catch (error) {
      this.#fail(load, error);
      return;
    }
    this.#inFlightCount--;
    if (response.throttleMs > 0) {
      connection.throttle(response.throttleMs);
      this.#options.onThrottled(response.throttleMs, connection.broker);
    }
    const missing = new KafkaError(
      "bad-answer",
      `Broker ${connection.broker} left a partition out of its answer`,
      {
        broker: connection.broker,
      },
    );
    for (let i = 0; i < load.queues.length; i++) {
      const queue = load.queues[i]!;
      const result = response.partitions.find((each) =>
        each.topic === queue.topic && each.partition === queue.id
      );
      if (result === undefined) this.#options.onFailure(queue, load.batches[i]!, missing);
      else this.#options.onAnswer(queue, load.batches[i]!, result);
    }
    this.#options.onReady();
  }

  #fail(load: Load, error: unknown): void {
    this.#inFlightCount--;
    const failure = asKafkaError(error);
    for (let i = 0; i < load.queues.length; i++) {
      this.#options.onFailure(load.queues[i]!, load.batches[i]!, failure);
    }
    this.#options.onReady();
  }

  /**
   * A connection that was made again may lead to another cluster at the same address, where our producer id is somebody else's: the broker itself
   * is asked, before anything is sent.
   */
  #lookAgain(connection: BrokerConnection): void {
    this.#isConnecting = true;
    this.#options.cluster.checkCluster(connection).then(
      () => {
        this.#known = connection;
        this.#goOn();
      },
      (error: unknown) => this.#connected(asKafkaError(error)),
    );
  }

  #connect(): void {
    if (this.#isConnecting || this.#isClosed) return;
    this.#isConnecting = true;
    this.#options.cluster.connectionTo(this.#options.nodeId).then(
      () => this.#connected(null),
      (error: unknown) => this.#connected(asKafkaError(error)),
    );
  }

  #connected(error: KafkaError | null): void {
    if (this.#isClosed) return;
    if (error === null) return this.#goOn();
    this.#options.onUnreachable(error);
    // A broker that the cluster does not list fails at once: trying again at once would never let the event loop bring news of it.
    this.#pauseTimer = setTimeout(() => this.#goOn(), this.#options.retryIntervalMs);
  }

  #goOn(): void {
    if (this.#isClosed) return;
    this.#pauseTimer = null;
    this.#isConnecting = false;
    this.#options.onReady();
  }
}

function groupByTopic(load: Load): { name: string; partitions: ProducePartition[] }[] {
  const topics: { name: string; partitions: ProducePartition[] }[] = [];
  for (let i = 0; i < load.queues.length; i++) {
    const queue = load.queues[i]!;
    let topic = topics.find((each) => each.name === queue.topic);
    if (topic === undefined) topics.push(topic = { name: queue.topic, partitions: [] });
    topic.partitions.push({ partition: queue.id, records: [load.batches[i]!.wireBytes()] });
  }
  return topics;
}

function asKafkaError(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new KafkaError("bad-answer", `Cannot use a broker's answer: ${message}`, { cause: error });
}
