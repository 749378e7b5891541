import type { Log } from "../../telemetry/log.ts";
import { backoffMs } from "../backoff.ts";
import type { Cluster } from "../cluster.ts";
import { abortedError, unlessAborted } from "../cluster_requests.ts";
import { PartitionProbe } from "./partition_probe.ts";
import { pause } from "../../pause.ts";
import { isWorthRetrying, refreshMetadata } from "./retry.ts";

export interface ReplicationOptions {
  readonly cluster: Cluster;
  readonly topic: string;
  readonly partition: number;
  /** Of the batches; null: not known. */
  readonly topicId: string | null;
  /** `provenOffset` and `leaderEpoch` of the verdict "written"; not for an offset of -1. */
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly random: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** As `ResolveOptions.isTopicGone`. */
  readonly isTopicGone?: (topic: string) => boolean;
}

/** After so long it is said what is waited for. */
const TELL_WAITING_MS = 5_000;
/** The high watermark is asked for this often at least. */
const POLL_MAX_MS = 1_000;

/**
 * Resolves true once the high watermark of the partition has reached `offset`, which proves that the replicas in sync have the batches
 * without sending them again; false if a new leader's log was cut below it, or the topic is another one (then resolve again).
 * A high watermark does not say how many replicas are in sync; before Kafka 4.0 it may be fewer than min.insync.replicas.
 * Rejects with KafkaError only when `signal` aborts ("aborted") or the cluster was closed ("closed").
 */
export async function waitReplicated(options: ReplicationOptions): Promise<boolean> {
  const { cluster, topic, log, signal } = options;
  if (options.offset < 0) throw new RangeError("Cannot wait for the replication of an unknown offset");
  const startMs = performance.now();
  let isTold = false;
  for (let roundCount = 1;; roundCount++) {
    if (!isTold && performance.now() - startMs > TELL_WAITING_MS) {
      isTold = true;
      log.warn(
        `Partition ${options.partition} of topic "${topic}" has a batch whose answer did not come, and has not replicated it: what comes behind ` +
          `it waits`,
        { hint: "start the brokers that hold its replicas" },
      );
    }
    if (signal.aborted) throw abortedError("wait for replication");
    if (options.isTopicGone?.(topic) === true) return false;
    try {
      const answer = await unlessAborted(lookOnce(options), signal);
      if (answer !== "not-yet") return answer === "replicated";
    } catch (error) {
      if (signal.aborted) throw abortedError("wait for replication");
      if (!isWorthRetrying(error)) throw error;
      log.debug(`Cannot see yet whether batches are replicated: ${error.message}`);
      await refreshMetadata(cluster, topic, "batches wait for replication", log, signal);
    }
    const { retryIntervalMs, retryMaxIntervalMs } = cluster.options;
    const maxMs = Math.min(retryMaxIntervalMs, POLL_MAX_MS);
    await pause(backoffMs(roundCount, retryIntervalMs, maxMs, options.random()), signal);
  }
}

async function lookOnce(options: ReplicationOptions): Promise<"replicated" | "not-yet" | "truncated"> {
  const { topicId, offset, leaderEpoch } = options;
  const probe = await PartitionProbe.open(options);
  if (topicId !== null && probe.topicId !== null && topicId !== probe.topicId) return "truncated";
  if (probe.leaderEpoch !== leaderEpoch) {
    // Up to this offset the new leader's log is the one that the offset was read from (KIP-320); behind it, another one.
    const end = await probe.epochEnd(leaderEpoch);
    if (end === null || end.endOffset < offset) return "truncated";
  }
  return await probe.highWatermark() >= offset ? "replicated" : "not-yet";
}
