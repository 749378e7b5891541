import { countOf } from "../telemetry/format.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { Cluster } from "./cluster.ts";
import type { PartitionSender, ProducerIdentity } from "./partition_sender.ts";
import { Canary, type CanaryReport, type WrittenPartition } from "./resolve/canary.ts";

/** Partitions that are looked at. */
const PARTITIONS_MAX = 10_000;
/** The wall clock was set when it and the one that never jumps are so far apart from before. */
const CLOCK_JUMP_MS = 60_000;

export interface ProtectionOptions {
  readonly cluster: Cluster;
  readonly dedupWindowMs: number;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  readonly now: () => number;
  readonly monotonic: () => number;
  readonly random: () => number;
}

/** Watches whether the brokers' own de-duplication can be relied on, and tells when recovery would have to do without it. */
export class ProtectionWatch {
  readonly #options: ProtectionOptions;
  /** By topic and partition, with the time of the last acknowledgement (monotonic). */
  readonly #written = new Map<string, WrittenPartition & { ackMs: number }>();
  #canary: Canary | null = null;
  #clockGapMs = 0;
  #wasUnprotected = false;

  constructor(options: ProtectionOptions) {
    this.#options = options;
  }

  /** Another producer id is in use. */
  start(identity: ProducerIdentity): void {
    this.#canary?.close();
    this.#written.clear();
    this.#canary = new Canary({
      ...this.#options,
      ...identity,
      partitions: () => this.#recent(),
      onReport: (report) => this.#tell(report),
    });
  }

  acknowledged(queue: PartitionSender): void {
    const { now, monotonic } = this.#options;
    const ackMs = monotonic();
    const key = `${queue.id}\u0000${queue.topic}`;
    const known = this.#written.get(key);
    if (known !== undefined) known.ackMs = ackMs;
    else if (this.#written.size < PARTITIONS_MAX) {
      this.#written.set(key, { topic: queue.topic, partition: queue.id, ackMs });
    }
    const gapMs = now() - ackMs;
    if (this.#written.size === 1 && known === undefined) {
      this.#clockGapMs = gapMs;
      this.#canary?.checkSoon();
    } else if (Math.abs(gapMs - this.#clockGapMs) > CLOCK_JUMP_MS) {
      this.#options.log.warn(
        "The wall clock was set by more than a minute: looking whether brokers still recognise repeats",
      );
      this.#clockGapMs = gapMs;
      this.#canary?.checkSoon();
    }
  }

  close(): void {
    this.#canary?.close();
  }

  #recent(): WrittenPartition[] {
    const oldestMs = this.#options.monotonic() - this.#options.dedupWindowMs / 2;
    return [...this.#written.values()].filter(({ ackMs }) => ackMs >= oldestMs);
  }

  #tell({ unprotected, notPermittedTopics }: CanaryReport): void {
    const { metrics, log } = this.#options;
    metrics.unprotectedPartitions = unprotected.length;
    for (const topic of notPermittedTopics) {
      log.warn(
        `Without the right to READ topic "${topic}" nobody can look what became of a batch: after a crash it is sent again under the same numbers, ` +
          `and the broker's memory alone tells a repeat`,
        { hint: `kafka-acls --add --allow-principal User:... --operation Read --topic ${topic}` },
      );
    }
    const [first] = unprotected;
    if (first !== undefined) {
      log.warn(
        `Brokers do not recognise repeats on ${
          countOf(unprotected.length, "partition")
        }, for example ${first.partition} of topic "${first.topic}": they ${
          first.reason === "absent" ? "have forgotten this producer" : "may forget this producer at any time"
        }; a batch in doubt is looked for in the log`,
        { hint: "raise producer.id.expiration.ms, and compare the clocks of this host and the brokers" },
      );
    } else if (this.#wasUnprotected) log.info("Brokers recognise repeats again on all partitions");
    this.#wasUnprotected = first !== undefined;
  }
}
