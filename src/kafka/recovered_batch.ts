import type { KafkaSinkConfig } from "../config/config.ts";
import type { Delivery } from "../event/delivery.ts";
import type { HeldLines } from "../event/tracked_region.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { ArenaPool } from "./arena_pool.ts";
import { backoffMs } from "./backoff.ts";
import type { RebuiltEvents, RecoveredIntent } from "./intent_log.ts";
import { ProduceBatch } from "./produce_batch.ts";
import { ANY_TIME, eventTimeMs } from "./record_times.ts";
import { pause } from "../pause.ts";

/** A batch that was sent goes out as it was, whatever the limits are today. */
const NO_LIMITS = { batchMaxBytes: Infinity, batchMaxEvents: Infinity };
const READ_AGAIN_MS = 100;
const READ_AGAIN_MS_MAX = 5_000;

export interface RebuildContext {
  readonly config: Pick<KafkaSinkConfig, "timestampSource">;
  readonly pool: ArenaPool;
  readonly log: Log;
  readonly random: () => number;
  readonly signal: AbortSignal;
}

/** What is left of a batch that an earlier run made. */
export interface Rebuilt {
  /** Null: nothing of it is there any more. */
  readonly batch: ProduceBatch | null;
  /** It holds the same events in the same order, and may go out under the same numbers. */
  readonly isSame: boolean;
  /** Lines that are not there any more. */
  readonly gone: readonly HeldLines[];
}

/** What is made of a partition's recovered intents, in order, and what to tell the journal once it is in the queue. */
export interface Rebuilding {
  readonly batches: ProduceBatch[];
  readonly replacements: (() => void)[];
  /** A batch of this producer got new numbers: those behind it need them too. */
  isRenumbering: boolean;
}

/**
 * Makes a batch of an earlier run again, with its numbers and its time: its lines are read from their files and shaped. Reading is tried until
 * it works or `signal` aborts (null then).
 */
export async function rebuildBatch(
  intent: RecoveredIntent,
  context: RebuildContext,
): Promise<Rebuilt | null> {
  const events = await readAgain(intent, context);
  if (events === null) return null;
  const { deliveries, gone } = events;
  if (deliveries.length === 0) return { batch: null, isSame: false, gone };
  const batch = fill(deliveries, context, intent.baseTimestampMs);
  batch.place = intent.place;
  batch.isMadeAgain = true;
  const isSame = intent.isWhole && batch.count === intent.count;
  if (isSame) {
    batch.number(intent.producer, intent.baseTimestampMs);
    batch.intentId = intent.id;
    batch.isDurable = true;
    batch.isRecovered = true;
    batch.isInDoubt = true;
    batch.topicId = intent.topicId;
    batch.clusterId = intent.clusterId;
    batch.hintOffset = intent.hintOffset;
  }
  return { batch, isSame, gone };
}

/** Its records get the times of their events if the first one's is that of the intent, as it was then; else all get the intent's. */
function fill(
  deliveries: readonly Delivery[],
  { pool, config }: RebuildContext,
  baseTimestampMs: number,
): ProduceBatch {
  const hasOwnTimes = config.timestampSource === "event" &&
    eventTimeMs(deliveries[0]!.batch, 0) === baseTimestampMs;
  const batch = new ProduceBatch(pool, hasOwnTimes ? { ...NO_LIMITS, times: ANY_TIME } : NO_LIMITS);
  for (const delivery of deliveries) {
    const { count, keys } = delivery.batch;
    if (keys === null) batch.appendRange(delivery, 0, count);
    else for (let i = 0; i < count; i++) batch.appendOne(delivery, i);
    delivery.take(count);
  }
  batch.isCovered = true;
  return batch;
}

/** Nothing was found of it: it is as old as its time says, and brokers must not be relied on for longer than for any other. */
export function countAge(
  batch: ProduceBatch,
  { now, monotonic }: { readonly now: () => number; readonly monotonic: () => number },
): void {
  batch.firstSentMs = batch.timestampMs;
  batch.firstSentMonotonicMs = monotonic() - (now() - batch.timestampMs);
}

/** It is sent (again): its events count as taken from their source once more. */
export function countRecovered(batch: ProduceBatch, metrics: SinkMetrics): void {
  batch.members.forEachRun(({ batch: { origin }, tally }, _first, count) => {
    metrics.eventsInBySource.add(origin.stream.source, count);
    tally?.recover(count);
  });
  metrics.eventsInCount += batch.count;
  metrics.inFlightEvents += batch.count;
}

async function readAgain(
  intent: RecoveredIntent,
  { log, random, signal }: RebuildContext,
): Promise<RebuiltEvents | null> {
  for (let failureCount = 1; !signal.aborted; failureCount++) {
    try {
      return await intent.rebuild();
    } catch (error) {
      log.warn(
        `Cannot read ${intent.describe()} again, which was being sent when the last run ended: ${
          error instanceof Error ? error.message : error
        }; trying again`,
      );
    }
    await pause(backoffMs(failureCount, READ_AGAIN_MS, READ_AGAIN_MS_MAX, random()), signal);
  }
  return null;
}
