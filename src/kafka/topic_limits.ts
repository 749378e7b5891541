import type { KafkaSinkConfig } from "../config/config.ts";
import type { Log } from "../telemetry/log.ts";
import { type ClusterRequests, topicConfigsBy } from "./cluster_requests.ts";
import type { TopicMetadata } from "./protocol/metadata.ts";

/** What a topic is set to that decides what its brokers take, and how. Null: not known, or this user may not see it. */
export interface TopicLimits {
  /** `max.message.bytes`: of one record batch, compressed, its header included. */
  readonly maxMessageBytes: number | null;
  /** `min.insync.replicas`: fewer in sync, and nothing is taken with acks = all. */
  readonly minInsyncReplicas: number | null;
  /** `message.timestamp.type`. */
  readonly timestampType: "CreateTime" | "LogAppendTime" | null;
  /** A record's time may be this far before the broker's, milliseconds; Infinity: any time before. */
  readonly timestampBeforeMsMax: number | null;
  /** A record's time may be this far after the broker's, milliseconds; Infinity: any time after. */
  readonly timestampAfterMsMax: number | null;
  /** `compression.type`: "producer", "uncompressed", "gzip", ... */
  readonly compressionType: string | null;
}

/** Limits, and when they were answered. */
interface Answered {
  readonly limits: TopicLimits;
  /** By a clock that is never set, milliseconds; -Infinity: never. */
  readonly atMs: number;
}

/** Of a topic that was not asked for, not answered yet, or must not be seen. */
export const UNKNOWN_LIMITS: TopicLimits = {
  maxMessageBytes: null,
  minInsyncReplicas: null,
  timestampType: null,
  timestampBeforeMsMax: null,
  timestampAfterMsMax: null,
  compressionType: null,
};

/** Topics whose limits are remembered; what was asked for longest ago is forgotten. */
export const TOPIC_LIMITS_MAX = 10_000;
/** Topics in one DescribeConfigs request. */
export const LIMITS_PER_REQUEST_MAX = 100;
/** Limits are asked for again with this pause at least, however short `metadata_refresh_ms` is. */
export const LIMITS_REFRESH_MS_MIN = 10_000;
/** What was answered this long ago may be trusted where something is given up because of it: a limit may have been raised since. */
export const LIMITS_FRESH_MS = 10_000;
/** Topics that a warning was given for; of more nothing is said. */
const WARNED_TOPICS_MAX = 100;

const KEYS = [
  "max.message.bytes",
  "min.insync.replicas",
  "message.timestamp.type",
  "message.timestamp.before.max.ms",
  "message.timestamp.after.max.ms",
  // Brokers before Kafka 3.6 have this one for both.
  "message.timestamp.difference.max.ms",
  "compression.type",
] as const;

export interface TopicLimitsStoreOptions {
  readonly cluster: ClusterRequests & { topic(name: string): TopicMetadata | undefined };
  readonly config: Pick<KafkaSinkConfig, "acks" | "compression" | "metadataRefreshMs">;
  readonly log: Log;
  /** Ends all asking. */
  readonly signal: AbortSignal;
  /** The limits of a topic are known for the first time, or are others than before. */
  readonly onChange?: (topic: string, limits: TopicLimits) => void;
}

/**
 * What topics allow, asked for with DescribeConfigs where this user may (the right is DESCRIBE_CONFIGS on the topic; that it is missing is no
 * error), and again at a slow pace. Until an answer is there, limits are unknown: the brokers' refusals tell them then.
 */
export class TopicLimitsStore {
  readonly #options: TopicLimitsStoreOptions;
  readonly #known = new Map<string, Answered>();
  readonly #wanted = new Set<string>();
  readonly #warned = new Map<string, Set<string>>();
  #isAsking = false;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(options: TopicLimitsStoreOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => this.#stop(), { once: true });
  }

  /** Never waits. `UNKNOWN_LIMITS` where nothing is known. */
  of(topic: string): TopicLimits {
    return this.#known.get(topic)?.limits ?? UNKNOWN_LIMITS;
  }

  /** The same, but unknown where the answer is not from just now; a new one is asked for then. */
  freshOf(topic: string): TopicLimits {
    const known = this.#known.get(topic);
    if (known !== undefined && performance.now() - known.atMs <= LIMITS_FRESH_MS) return known.limits;
    this.want(topic);
    return UNKNOWN_LIMITS;
  }

  /** Asks for the limits of a topic soon; calls at the same time share a request. Cheap to call again. */
  want(topic: string): void {
    if (this.#options.signal.aborted) return;
    this.#wanted.add(topic);
    if (this.#isAsking) return;
    this.#isAsking = true;
    queueMicrotask(() => void this.#ask());
  }

  async #ask(): Promise<void> {
    const { signal, log } = this.#options;
    while (this.#wanted.size > 0 && !signal.aborted) {
      const topics = [...this.#wanted].slice(0, LIMITS_PER_REQUEST_MAX);
      for (const topic of topics) this.#wanted.delete(topic);
      try {
        const answer = await topicConfigsBy(this.#options.cluster, topics, KEYS, signal);
        for (const topic of topics) this.#take(topic, answer.get(topic) ?? null);
      } catch (error) {
        // A broker that cannot be reached; the next round asks again.
        if (!signal.aborted) log.debug(`Cannot ask for the limits of topic "${topics[0]}": ${error}`);
        for (const topic of topics) this.#remember(topic, this.of(topic), -Infinity);
      }
    }
    this.#isAsking = false;
    this.#planRefresh();
  }

  #take(topic: string, values: ReadonlyMap<string, string | null> | null): void {
    const before = this.of(topic);
    // A right that was taken away does not make the limits others.
    const limits = values === null ? before : limitsOf(values);
    this.#remember(topic, limits, values === null ? -Infinity : performance.now());
    if (isSame(before, limits)) return this.#warnReplicas(topic, limits);
    this.#options.onChange?.(topic, limits);
    this.#warnReplicas(topic, limits);
    this.#warnCompression(topic, limits);
  }

  #remember(topic: string, limits: TopicLimits, atMs: number): void {
    this.#known.delete(topic);
    this.#known.set(topic, { limits, atMs });
    if (this.#known.size <= TOPIC_LIMITS_MAX) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      return;
    }
  }

  #planRefresh(): void {
    if (this.#timer !== null || this.#options.signal.aborted) return;
    const pauseMs = Math.max(this.#options.config.metadataRefreshMs, LIMITS_REFRESH_MS_MIN);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      for (const topic of this.#known.keys()) this.want(topic);
    }, pauseMs);
    this.#timer.unref();
  }

  #stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#wanted.clear();
  }

  /** With fewer replicas in sync than the topic wants, nothing is taken: said before the first refusal, once while it lasts. */
  #warnReplicas(topic: string, { minInsyncReplicas }: TopicLimits): void {
    const { config, cluster, log } = this.#options;
    const metadata = cluster.topic(topic);
    if (minInsyncReplicas === null || config.acks !== "all" || metadata === undefined) return;
    // Brokers of today never want more than there are replicas; older ones say so themselves.
    const few = metadata.partitions.filter(({ isr, replicas }) =>
      isr.length < Math.min(minInsyncReplicas, replicas.length)
    );
    if (few.length === 0) return this.#settled(topic, "replicas");
    if (!this.#isFirst(topic, "replicas")) return;
    const { id, isr } = few[0]!;
    log.warn(
      `Topic "${topic}" wants ${minInsyncReplicas} replicas in sync (min.insync.replicas), and partition ${id} has ${isr.length}: ` +
        `its brokers take no records with acks = "all"; events wait`,
      { partitions: few.length, hint: "Start the brokers that hold its replicas" },
    );
  }

  /** A broker that has to compress anew spends its time on what was done here. */
  #warnCompression(topic: string, { compressionType }: TopicLimits): void {
    const { config, log } = this.#options;
    if (compressionType === null || compressionType === "producer") return;
    const codec = compressionType === "uncompressed" ? "none" : compressionType;
    if (codec === config.compression) return this.#settled(topic, "compression");
    if (!this.#isFirst(topic, "compression")) return;
    log.warn(
      `Topic "${topic}" has compression.type = "${compressionType}": its brokers ${
        codec === "none" ? "decompress" : "compress"
      } every batch of this sink, which sends compression = "${config.compression}"`,
      { hint: `Set compression = "${codec}" here, or compression.type = "producer" at the topic` },
    );
  }

  #isFirst(topic: string, cause: string): boolean {
    const topics = this.#warned.get(cause) ?? new Set();
    this.#warned.set(cause, topics);
    if (topics.has(topic) || topics.size >= WARNED_TOPICS_MAX) return false;
    topics.add(topic);
    return true;
  }

  #settled(topic: string, cause: string): void {
    this.#warned.get(cause)?.delete(topic);
  }
}

/** From the values that a broker gives; what is not there, or is no number, is not known. */
export function limitsOf(values: ReadonlyMap<string, string | null>): TopicLimits {
  const type = values.get("message.timestamp.type");
  const difference = milliseconds(values.get("message.timestamp.difference.max.ms"));
  return {
    maxMessageBytes: positive(values.get("max.message.bytes")),
    minInsyncReplicas: positive(values.get("min.insync.replicas")),
    timestampType: type === "CreateTime" || type === "LogAppendTime" ? type : null,
    timestampBeforeMsMax: either(milliseconds(values.get("message.timestamp.before.max.ms")), difference),
    timestampAfterMsMax: either(milliseconds(values.get("message.timestamp.after.max.ms")), difference),
    compressionType: values.get("compression.type") ?? null,
  };
}

/** Brokers from 3.6 to 3.9 have both names; the newer one holds where it is set. */
function either(newer: number | null, older: number | null): number | null {
  return newer === null || newer === Infinity ? older ?? newer : newer;
}

function positive(text: string | null | undefined): number | null {
  const value = Number(text ?? NaN);
  return Number.isSafeInteger(value) && value > 0 ? value : null;
}

/** Kafka's way of saying "no limit" is the largest int64. */
function milliseconds(text: string | null | undefined): number | null {
  const value = Number(text ?? NaN);
  if (Number.isNaN(value) || value < 0) return null;
  return value > Number.MAX_SAFE_INTEGER ? Infinity : value;
}

function isSame(a: TopicLimits, b: TopicLimits): boolean {
  return a.maxMessageBytes === b.maxMessageBytes && a.minInsyncReplicas === b.minInsyncReplicas &&
    a.timestampType === b.timestampType && a.timestampBeforeMsMax === b.timestampBeforeMsMax &&
    a.timestampAfterMsMax === b.timestampAfterMsMax && a.compressionType === b.compressionType;
}
