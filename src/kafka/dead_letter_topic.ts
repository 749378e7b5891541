import type { KafkaSinkConfig } from "../config/config.ts";
import type { DeadLetter, DeadLetters } from "../event/dead_letters.ts";
import { type BatchStatus, Delivery } from "../event/delivery.ts";
import { column } from "../event/event_batch.ts";
import { pause } from "../pause.ts";
import type { Log } from "../telemetry/log.ts";
import { SinkMetrics } from "../telemetry/metrics.ts";
import type { Cluster } from "./cluster.ts";
import { createCompressor } from "./compression.ts";
import { letterOverheadBytes, type LetterRecord, letterRecords } from "./letter_records.ts";
import { Producer } from "./producer.ts";

/** A part of a letter is never smaller. */
const PART_BYTES_MIN = 1_024;
/** A letter that the topic refuses is tried again after so long. */
const REFUSED_PAUSE_MS = 2_000;

export interface DeadLetterTopicOptions {
  /** Of the sink. */
  readonly config: KafkaSinkConfig;
  readonly topic: string;
  readonly cluster: Cluster;
  /** Of the sink: why letters wait is its last error. */
  readonly metrics: SinkMetrics;
  readonly log: Log;
  readonly now: () => number;
  readonly random: () => number;
  readonly retryMs?: number;
}

/**
 * Keeps dead letters in a topic, by an idempotent producer of its own: what the sink cannot send must not stand in front of them. A letter is safe
 * when all its records are acknowledged by all replicas in sync. What the topic refuses is tried again, in smaller parts where it is too large, for ever:
 * a topic that is missing, or that takes no records, holds the sink's events back, and loses none.
 */
export class DeadLetterTopic implements DeadLetters {
  readonly #options: DeadLetterTopicOptions;
  readonly #producer: Producer;
  readonly #metrics = new SinkMetrics();
  readonly #abort = new AbortController();
  /** Letters that were not given to the producer yet. */
  #waiting: (() => Promise<void>)[] = [];
  #isFeeding = false;
  /** Of a value, in one record; smaller after the topic refused more. */
  #partBytesMax: number;

  constructor(options: DeadLetterTopicOptions) {
    this.#options = options;
    const { config, topic, cluster, metrics, log, now, random } = options;
    this.#partBytesMax = config.maxMessageBytes;
    const told: Log = {
      ...logOf(log),
      warn(message, fields) {
        metrics.lastError = message;
        log.warn(message, fields);
      },
      // It is no loss: the letter is tried again, and that is told.
      error: (message, fields) => log.debug(message, fields),
    };
    // Nothing else of the options: what the sink has in its journal is the sink's to send.
    this.#producer = new Producer({
      cluster,
      now,
      random,
      intents: null,
      config: {
        ...config,
        topic,
        acks: "all",
        delivery: "at_least_once",
        partitioner: "murmur2_random",
        timestampSource: "ship",
        compression: "none",
        onTooLarge: "drop",
        deadLetter: null,
        // What gives events up after a time gives no letter up.
        topicMissingTimeoutMs: null,
        messageTimeoutMs: 0,
        retryMaxAttempts: 0,
      },
      compressor: createCompressor("none", null, log),
      metrics: this.#metrics,
      log: told,
      hasTopicTemplate: false,
    });
  }

  put(letter: DeadLetter, onSafe: () => void): void {
    if (this.#abort.signal.aborted) return;
    this.#waiting.push(() => this.#send(letter, onSafe));
    if (this.#isFeeding) return;
    this.#isFeeding = true;
    void this.#feed();
  }

  /** Nothing is called back any more. */
  close(): void {
    this.#abort.abort();
    this.#producer.close();
  }

  /** One after the other up to the producer's memory; acknowledgements are not waited for. */
  async #feed(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#abort.signal.aborted) await this.#waiting.shift()!();
    this.#isFeeding = false;
  }

  /** Resolves when the producer has all records of the letter. */
  async #send(letter: DeadLetter, onSafe: () => void): Promise<void> {
    const limit = this.#producer.maxMessageBytes(this.#options.topic) ?? Infinity;
    const room = Math.min(this.#options.config.maxMessageBytes, limit) - letterOverheadBytes(letter);
    const partBytes = Math.max(PART_BYTES_MIN, Math.min(room, this.#partBytesMax));
    const records = letterRecords(letter, partBytes);
    let openCount = records.length;
    let worst: BatchStatus = "delivered";
    const settled = (status: BatchStatus) => {
      if (status !== "delivered") worst = status;
      if (--openCount > 0 || this.#abort.signal.aborted) return;
      if (worst === "delivered") onSafe();
      else if (worst === "rejected") this.#again(letter, partBytes, onSafe);
    };
    for (const record of records) {
      const delivery = deliveryOf(record, this.#options.topic, letter, settled);
      this.#metrics.inFlightEvents++;
      while (!this.#abort.signal.aborted && this.#producer.append(delivery, 0) === 0) {
        await this.#producer.waitForRoom();
      }
      if (this.#abort.signal.aborted) return;
    }
  }

  /** The topic has refused a record of it. */
  #again(letter: DeadLetter, partBytes: number, onSafe: () => void): void {
    const { topic, retryMs, log } = this.#options;
    const isSmallest = partBytes <= PART_BYTES_MIN;
    this.#partBytesMax = Math.max(PART_BYTES_MIN, Math.min(this.#partBytesMax, partBytes >> 1));
    if (!isSmallest) {
      log.debug(`Topic "${topic}" takes no dead letter of ${partBytes} bytes: it is sent in parts`);
    } else {
      log.warn(
        `Topic "${topic}" takes no dead letters: events that are to go there wait, and what comes behind them`,
        {
          hint: "look at its max.message.bytes and cleanup.policy, or set dead_letter.topic to another one",
        },
      );
    }
    const pauseMs = isSmallest ? retryMs ?? REFUSED_PAUSE_MS : 0;
    void pause(pauseMs, this.#abort.signal).then(() => this.put(letter, onSafe));
  }
}

function deliveryOf(
  { key, headers, value }: LetterRecord,
  topic: string,
  { stream, offset, timeMs }: DeadLetter,
  onSettled: (status: BatchStatus) => void,
): Delivery {
  return new Delivery({
    count: 1,
    values: column(value),
    keys: column(key),
    headers: column(headers),
    topics: [topic],
    topicIndexes: null,
    partitions: null,
    timestamps: null,
    receivedMs: timeMs,
    origin: {
      stream: { ...stream, sourceType: stream.path === "" ? "stdin" : "file" },
      startOffset: offset,
      endOffset: offset + value.length,
    },
    rawEnds: Uint32Array.of(value.length),
    rawEndsOwner: null,
    lineNumbers: null,
    byteSize: key.length + value.length,
    pinnedBytes: value.length,
    owners: [],
  }, onSettled);
}

/** A logger's methods may need their object. */
function logOf(log: Log): Log {
  return {
    debug: (message, fields) => log.debug(message, fields),
    info: (message, fields) => log.info(message, fields),
    warn: (message, fields) => log.warn(message, fields),
    error: (message, fields) => log.error(message, fields),
  };
}
