import type { Accumulator } from "../batch/accumulator.ts";
import type { Membership } from "../batch/membership.ts";
import type { KafkaSinkConfig } from "../config/config.ts";
import { deadLetterReason, type DeadLetters } from "../event/dead_letters.ts";
import { eventOffset } from "../event/event_batch.ts";
import { appendHeaders, HEADERS_MAX } from "../event/record_headers.ts";
import { countOf } from "../telemetry/format.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { ArenaPool } from "./arena_pool.ts";
import { encodedRecords } from "./encoded_records.ts";
import type { ExactDelivery } from "./exact_delivery.ts";
import type { PartitionSender } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";
import { truncateJson, truncateText } from "./truncate_value.ts";

/** A record whose value was cut has this header: how many bytes it had. */
const TRUNCATED_HEADER = "shipper.truncated";
const NO_HEADERS = Buffer.alloc(0);

export interface RefusedRecordsOptions {
  readonly config: KafkaSinkConfig;
  readonly accumulator: Accumulator<ProduceBatch, PartitionSender>;
  readonly pool: ArenaPool;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  readonly now: () => number;
  /** The topic's own max.message.bytes, where it is known. */
  readonly topicBytesMax: (topic: string) => number | null;
  /** `parts` take the place of `batch`, in the queue and in the journal. */
  readonly replaceBy: (
    queue: PartitionSender,
    batch: ProduceBatch,
    parts: ProduceBatch[],
    reason: string,
  ) => void;
  /** Null under at-least-once delivery and in transactions. */
  readonly exact: () => ExactDelivery | null;
  /** Null: there is no place for dead letters. */
  readonly deadLetters: DeadLetters | null;
  /** A dead letter is safe: `finishSafe` has something to do. */
  readonly onSafe: () => void;
}

/**
 * What becomes of records that a topic will never take: dropped and counted, cut until they fit, or kept as dead letters.
 *
 * A batch whose records become dead letters is *held*: it stays where it is in its queue, is not sent, and nothing behind it is, until they are
 * safe. Then it is given up as a dropped one is. So an event's position passes when its letter is safe and not before; a crash in between
 * finds the batch refused again, and stores the letter again, under the same id.
 */
export class RefusedRecords {
  readonly #options: RefusedRecordsOptions;

  constructor(options: RefusedRecordsOptions) {
    this.#options = options;
  }

  /** The batch holds one record that is too large: does what `on_too_large` says. `why` completes "events of it can't be delivered: ...". */
  tooLarge(queue: PartitionSender, batch: ProduceBatch, why: string): void {
    const { onTooLarge } = this.#options.config;
    if (onTooLarge === "truncate" && this.#truncate(queue, batch, why)) return;
    if (onTooLarge === "dead_letter") this.#hold(queue, batch, "record_too_large", why);
    else this.#giveUp(queue, batch, "record_too_large", why);
  }

  /** Gives a whole batch up, or holds it where there is a place for dead letters. */
  reject(queue: PartitionSender, batch: ProduceBatch, reason: string, why: string): void {
    if (this.#options.deadLetters === null) this.#giveUp(queue, batch, reason, why);
    else this.#hold(queue, batch, reason, why);
  }

  /**
   * Drops a batch and counts it, for who tells why. It must be certain that it was not written, and no numbered batch in front of it may be in
   * doubt.
   */
  drop(queue: PartitionSender, batch: ProduceBatch, reason: string): void {
    this.#finish(queue, batch, reason, false);
  }

  /** The same for events that are in no batch; their bytes were taken. */
  dropMembers(members: Membership, reason: string): void {
    this.#count(members, reason, false);
    coverDropped(members, reason);
    members.settle("rejected");
  }

  /** Gives a held batch up, if its dead letters are safe. Only while nothing of its partition is in flight or in doubt. */
  finishSafe(queue: PartitionSender, batch: ProduceBatch): boolean {
    const { hold } = batch;
    if (hold === null || hold.waitingCount > 0) return false;
    this.#options.log.warn(
      `${countOf(batch.count, "event")} ${placeOf(batch)} became dead letters: ${hold.why}`,
      { topic: queue.topic, reason: hold.reason },
    );
    this.#finish(queue, batch, hold.reason, true);
    return true;
  }

  #hold(queue: PartitionSender, batch: ProduceBatch, reason: string, why: string): void {
    const { config, deadLetters, now, onSafe, metrics } = this.#options;
    const hold = { reason, why, waitingCount: batch.count };
    batch.hold = hold;
    metrics.heldEvents += batch.count;
    const records = encodedRecords(batch.recordBytes(), batch.count);
    let index = 0;
    batch.members.forEachRun(({ batch: events }, first, count) => {
      for (let i = 0; i < count; i++) {
        const { key, value, headers } = records[index++]!;
        deadLetters!.put({
          reason,
          error: why,
          stream: events.origin.stream,
          offset: eventOffset(events, first + i),
          timeMs: now(),
          sink: config.name,
          topic: queue.topic,
          key,
          headers,
          value,
        }, () => {
          hold.waitingCount--;
          metrics.heldEvents--;
          if (hold.waitingCount === 0) onSafe();
        });
      }
    });
  }

  #giveUp(queue: PartitionSender, batch: ProduceBatch, reason: string, why: string): void {
    this.#options.log.error(
      `Cannot deliver ${countOf(batch.count, "event")} ${placeOf(batch)}: ${why}; dropped and counted`,
      { topic: queue.topic, reason },
    );
    this.#finish(queue, batch, reason, false);
  }

  #finish(queue: PartitionSender, batch: ProduceBatch, plainReason: string, isKept: boolean): void {
    const { accumulator } = this.#options;
    this.#count(batch.members, plainReason, isKept);
    const reason = isKept ? deadLetterReason(plainReason) : plainReason;
    accumulator.finish(queue, batch);
    const exact = this.#options.exact();
    const isJournalled = exact !== null && batch.intentId !== null;
    if (!isJournalled) coverDropped(batch.members, reason);
    // Also where nothing of it is in the journal (stdin): what follows it must not be left with a hole in front of it.
    if (exact !== null && batch.isNumbered) {
      const gone = { kind: "dropped" as const, reason, lines: batch.members.heldLines() };
      exact.exactlyOnce.replace(queue, [batch], isJournalled ? [gone] : [], plainReason);
    }
    // One that was given up before it has to be cancelled in the journal yet, though nothing is left to be sent.
    if (queue.replacement !== null) accumulator.active.add(queue);
    batch.members.settle("rejected");
    batch.release();
  }

  #count(members: Membership, plainReason: string, isKept: boolean): void {
    const { metrics, now } = this.#options;
    const counter = isKept ? metrics.deadLettered : metrics.dropped;
    members.forEachRun((delivery, _first, count) => {
      counter.add(`${delivery.batch.origin.stream.source}\u0000${plainReason}`, count);
    });
    members.drop(isKept ? deadLetterReason(plainReason) : plainReason, metrics.gaps);
    metrics.inFlightEvents -= members.count;
    metrics.waitingSinceMs = metrics.inFlightEvents + metrics.bufferedEvents > 0 ? now() : 0;
  }

  /** False when the value cannot be cut that far. */
  #truncate(queue: PartitionSender, batch: ProduceBatch, why: string): boolean {
    const { config, log, metrics, pool, topicBytesMax } = this.#options;
    const limit = Math.min(config.maxMessageBytes, topicBytesMax(queue.topic) ?? Infinity);
    // Refused although it is within what is known: half of it is tried, until it is taken.
    const bytesMax = batch.sizeBytes > limit ? limit : batch.sizeBytes >> 1;
    const [record] = encodedRecords(batch.recordBytes(), 1);
    const { value, back, headers } = record!;
    const marked = batch.isTruncated || headers.length >= HEADERS_MAX
      ? back
      : appendHeaders(headers.length === 0 ? NO_HEADERS : back, [[TRUNCATED_HEADER, String(value.length)]]);
    const cut = config.encoding.codec === "json" ? truncateJson : truncateText;
    const shorter = cut(value, batch.sizeBytes - bytesMax + marked.length - back.length);
    if (shorter === null || value.length === 0) return false;
    const place = placeOf(batch);
    this.#options.replaceBy(
      queue,
      batch,
      [batch.withValue({ ...record!, back: marked }, shorter, pool)],
      "truncated",
    );
    if (!batch.isTruncated) metrics.truncatedRecordsCount++;
    log.warn(
      `A record ${place} was cut from ${value.length} to ${shorter.length} bytes: ${why}`,
      { topic: queue.topic, hint: "raise max_message_bytes, and max.message.bytes of the topic" },
    );
    return true;
  }
}

/** No intent names these lines: the account of their files is told that they are given up, before any later line is in one. */
function coverDropped(members: Membership, reason: string): void {
  members.cover();
  for (const { region, count } of members.heldLines()) {
    region.countGone("dropped", reason, count);
    region.skipped();
  }
}

function placeOf(batch: ProduceBatch): string {
  const { source, path, offset } = batch.members.describe(0);
  return `from ${path === "" ? `source "${source}"` : `"${path}"`} at byte ${offset}`;
}
