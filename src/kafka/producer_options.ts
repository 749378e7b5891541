import type { KafkaSinkConfig } from "../config/config.ts";
import type { DeadLetters } from "../event/dead_letters.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { Cluster } from "./cluster.ts";
import type { Compressor } from "./compression.ts";
import type { IntentLog } from "./intent_log.ts";

export interface ProducerOptions {
  readonly config: KafkaSinkConfig;
  readonly cluster: Cluster;
  readonly compressor: Compressor;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  /** The topic is a template: events of a topic that is unknown must not hold those of others. */
  readonly hasTopicTemplate: boolean;
  /** Where events go that will never be taken; null: nowhere, they are dropped. */
  readonly deadLetters?: DeadLetters | null;
  /** Where intents go; null: at least once. */
  readonly intents?: IntentLog | null;
  /** The brokers are too old for intents: what was decided, once. */
  readonly onDowngrade?: (reason: string) => void;
  /** The sink must not go on; `message` says why. */
  readonly onFatal?: (message: string) => void;
  /** For tests: see `StallWatchOptions.stallMs`. */
  readonly stallMs?: number;
  /** For tests: see `ResolveOptions.recheckMs`. */
  readonly recheckMs?: number;
  /** Wall clock, milliseconds: the records' time, and what metrics show. */
  readonly now: () => number;
  /** Clock of lingering and back-off, milliseconds: one that is never set. */
  readonly monotonic?: () => number;
  readonly random: () => number;
}
