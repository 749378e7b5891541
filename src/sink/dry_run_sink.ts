import { writeSync } from "node:fs";
import { keyPartitioner } from "../batch/partitioners.ts";
import type { EventBuffer } from "../buffer/event_buffer.ts";
import type { KafkaSinkConfig, SinkConfig } from "../config/config.ts";
import type { Delivery } from "../event/delivery.ts";
import { type ByteColumn, type EventBatch, NO_PARTITION } from "../event/event_batch.ts";
import { decodeHeaders } from "../event/record_headers.ts";
import { errnoName, StartError } from "../errors.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { HealthFailure, Sink } from "./sink.ts";

/** A pipe that takes nothing for now is tried again after so long. */
const WAIT_MS = 5;

export interface DryRunSinkOptions {
  readonly config: SinkConfig;
  readonly metrics: SinkMetrics;
  readonly now: () => number;
}

/**
 * Stands in for every sink under `--dry-run`: prints on stdout what would be sent, one line a record, and reaches nothing.
 *
 *     sink=events topic=logs partition=by-key key="user-1" headers={"trace":"8f3a"} value="..."
 *
 * Partitions are the cluster's business, so only how they would be chosen is said.
 */
export class DryRunSink implements Sink {
  readonly name: string;
  readonly #options: DryRunSinkOptions;

  constructor(options: DryRunSinkOptions) {
    this.name = options.config.name;
    this.#options = options;
  }

  checkHealth(): Promise<HealthFailure | null> {
    return Promise.resolve(null);
  }

  async run(buffer: EventBuffer, kill: AbortSignal): Promise<void> {
    const onKill = () => buffer.abandon();
    kill.addEventListener("abort", onKill, { once: true });
    try {
      while (await buffer.waitForData()) {
        for (let delivery = buffer.read(); delivery !== null; delivery = buffer.read()) this.#print(delivery);
      }
    } finally {
      kill.removeEventListener("abort", onKill);
      buffer.abandon();
    }
  }

  #print(delivery: Delivery): void {
    const { batch } = delivery;
    const { metrics, now } = this.#options;
    const lines: string[] = [];
    for (let i = 0; i < batch.count; i++) lines.push(this.#line(delivery, i));
    try {
      writeAll(Buffer.from(lines.join("")));
    } catch (error) {
      delivery.abandon("errored");
      throw error;
    }
    metrics.deliveredEventsCount += batch.count;
    metrics.lastAckMs = now();
    metrics.waitingSinceMs = 0;
    delivery.abandon("delivered");
  }

  #line(delivery: Delivery, index: number): string {
    const { values, keys, headers, topics, topicIndexes } = delivery.batch;
    const { config } = this.#options;
    const value = JSON.stringify(values.data.toString("utf8", values.starts[index], values.ends[index]));
    if (config.type === "console") return `sink=${config.name} value=${value}\n`;
    const topic = topicIndexes === null ? topics[0] : topics[topicIndexes[index]!];
    const key = keys === null ? null : keys.data.toString("utf8", keys.starts[index], keys.ends[index]);
    const partition = partitionOf(config, delivery.batch, index);
    const keyText = key === null ? "none" : JSON.stringify(key);
    const headersText = headers === null ? "" : ` headers=${JSON.stringify(headersOf(headers, index))}`;
    return `sink=${config.name} topic=${topic} partition=${partition} key=${keyText}${headersText} value=${value}\n`;
  }
}

/** Partitions are the cluster's business, but for the number that a field holds. */
function partitionOf(config: KafkaSinkConfig, { keys, partitions }: EventBatch, index: number): string {
  const { partitioner } = config;
  if (partitioner === "field") return partitions![index] === NO_PARTITION ? "0" : String(partitions![index]);
  const spreads = keyPartitioner(partitioner)?.spreads ?? null;
  if (spreads === null) return partitioner;
  const keyBytes = keys === null ? -1 : keys.ends[index]! - keys.starts[index]!;
  const isSpread = spreads === "absent" ? keyBytes < 0 : spreads === "absent_or_empty" && keyBytes <= 0;
  return isSpread ? "sticky" : "by-key";
}

function headersOf({ data, starts, ends }: ByteColumn, index: number): Record<string, string> {
  const headers = decodeHeaders(data.subarray(starts[index], ends[index]));
  return Object.fromEntries(headers.map(([name, value]) => [name, value.toString()]));
}

/** Writes everything, waiting for a slow reader: nothing else has to be done meanwhile. Throws a `StartError` when nobody reads. */
function writeAll(data: Buffer): void {
  let at = 0;
  while (at < data.length) {
    try {
      at += writeSync(1, data, at);
    } catch (error) {
      const errno = errnoName(error);
      if (errno === "UNKNOWN") throw error;
      if (errno !== "EAGAIN") throw outputError(errno);
      Bun.sleepSync(WAIT_MS);
    }
  }
}

function outputError(errno: string): StartError {
  const isUnread = errno === "EPIPE";
  return new StartError(
    "stdout-closed",
    `Cannot write to the standard output: ${
      isUnread ? "nobody reads it any more" : "the system refused"
    } (${errno}); the rest is not printed, and nothing was sent`,
    isUnread
      ? "a dry run prints everything that is there"
      : "look at where it goes, and at the free space there",
    1,
  );
}
