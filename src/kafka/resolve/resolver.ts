import type { Log } from "../../telemetry/log.ts";
import { backoffMs } from "../backoff.ts";
import type { Cluster } from "../cluster.ts";
import { abortedError, unlessAborted } from "../cluster_requests.ts";
import type { KafkaError } from "../errors.ts";
import { ErrorCode } from "../protocol/error_codes.ts";
import { findPartition } from "../topic_cache.ts";
import { PartitionProbe } from "./partition_probe.ts";
import { pause } from "../../pause.ts";
import { isWorthRetrying, refreshMetadata } from "./retry.ts";
import { scanTail } from "./tail_scan.ts";
import { checkBatches, type DoubtfulBatch, judge, judgeIdentity, type Verdict } from "./verdict.ts";

export interface ResolveOptions {
  readonly cluster: Cluster;
  readonly topic: string;
  readonly partition: number;
  /** At least one; see DoubtfulBatch for their order. */
  readonly batches: readonly DoubtfulBatch[];
  /** How long brokers remember a producer. Within half of it, without READ right, a re-send may be left to them. */
  readonly dedupWindowMs: number;
  /** Bytes of the log that are read at most to look for the batches (`resolve_scan_max_bytes`). */
  readonly scanBytesMax: number;
  readonly hasClockJumped: boolean;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  /** In [0, 1), for back-off. */
  readonly random: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** A verdict that asks for new numbers is only returned when it is found again after so long. Default: RECHECK_MS. */
  readonly recheckMs?: number;
  /** Nothing waits for the topic any more, which is certainly not there. Absent: it is waited for. */
  readonly isTopicGone?: (topic: string) => boolean;
}

/**
 * New numbers for a batch end the broker's protection, so what asks for them has to be found twice, this far apart and with fresh
 * metadata: by then the late request of a dead process or a leader that was replaced has shown itself.
 */
export const RECHECK_MS = 15_000;
/** Failures in a row after which an operator hears of it. */
const FAILURES_UNTIL_WARNING = 5;

/**
 * Finds out from the leader of a partition what became of batches; tries until it knows. Rejects with KafkaError only when `signal`
 * aborts ("aborted") or the cluster was closed ("closed"), with RangeError for a list that is none.
 */
export async function resolvePartition(options: ResolveOptions): Promise<Verdict> {
  const { cluster, topic, partition, batches, log, signal } = options;
  checkBatches(batches);
  let failureCount = 0;
  let earlier: string | null = null;
  for (;;) {
    if (signal.aborted) throw abortedError("resolve batches");
    if (options.isTopicGone?.(topic) === true) return judgeMissingTopic(options);
    try {
      const verdict = await unlessAborted(resolveOnce(options), signal);
      failureCount = 0;
      const finding = findingOf(verdict, batches.length);
      if (finding === null || finding === earlier) return verdict;
      earlier = finding;
      log.debug(
        `Batches of partition ${partition} of topic "${topic}" need new numbers (${finding}); looking again`,
      );
      await pause(options.recheckMs ?? RECHECK_MS, signal);
    } catch (error) {
      if (signal.aborted) throw abortedError("resolve batches");
      if (!isWorthRetrying(error)) throw error;
      failureCount++;
      report(options, failureCount, error);
      const { retryIntervalMs, retryMaxIntervalMs } = cluster.options;
      await pause(backoffMs(failureCount, retryIntervalMs, retryMaxIntervalMs, options.random()), signal);
    }
    await refreshMetadata(cluster, topic, "batches are in doubt", log, signal);
  }
}

async function resolveOnce(options: ResolveOptions): Promise<Verdict> {
  const { cluster, topic, partition, batches, dedupWindowMs, hasClockJumped, signal } = options;
  const gone = judgeMissingPartition(options);
  if (gone !== null) return gone;
  const probe = await PartitionProbe.open({ cluster, topic, partition });
  // Another cluster may know another producer by this id: nothing else needs to be asked.
  const moved = judgeIdentity(batches, probe.clusterId, probe.topicId);
  if (moved?.reason === "other-cluster") return moved;
  const evidence = await probe.evidence(batches[0]!.producer);
  const recency = () => ({ nowMs: options.now(), dedupWindowMs, hasClockJumped });
  const verdict = judge(batches, evidence, null, recency());
  if (verdict !== "scan-needed") return verdict;
  const scan = await scanTail({
    batches,
    evidence,
    bytesMax: options.scanBytesMax,
    fetch: (offset, sizeBytesMax, waitMs) => probe.fetch(offset, sizeBytesMax, waitMs),
    signal,
  });
  const judged = judge(batches, evidence, scan, recency());
  if (judged === "scan-needed") throw new Error("A scan was judged to be no scan");
  return judged;
}

/** A topic that was made again with fewer partitions has no leader to be asked: then every broker's word has to do. */
function judgeMissingPartition({ cluster, topic, partition, batches }: ResolveOptions): Verdict | null {
  const known = cluster.topic(topic);
  if (known === undefined || known.errorCode !== ErrorCode.NONE) return null;
  if (findPartition(known, partition) !== null) return null;
  return judgeIdentity(batches, cluster.clusterId, known.topicId);
}

/** What was written to it is gone with it, what was not is not to be: neither can be found out any more, nor has to be. */
function judgeMissingTopic({ topic, partition, batches, log }: ResolveOptions): Verdict {
  log.warn(
    `Cannot find out whether ${batches.length} sent batch(es) of partition ${partition} were written to topic "${topic}" before it was deleted: they ` +
      `count as not written`,
    { topic },
  );
  return { kind: "replace", reason: "topic-missing", isDataLossAtBroker: false, listed: null };
}

/** What two looks have to agree in before a batch gets new numbers; null for a verdict that asks for none. */
function findingOf(verdict: Verdict, batchCount: number): string | null {
  if (verdict.kind === "replace") return verdict.reason;
  if (verdict.kind !== "journal-behind" || verdict.writtenCount === batchCount) return null;
  return `${verdict.reason}, ${verdict.writtenCount} written`;
}

function report(
  { topic, partition, batches, log }: ResolveOptions,
  failureCount: number,
  error: KafkaError,
): void {
  const what =
    `Cannot find out yet whether ${batches.length} sent batches of partition ${partition} of topic "${topic}" were written`;
  const hint = error.hint === null ? "" : `. ${error.hint}`;
  const message = `${what}: ${error.message}; asking again${hint}`;
  if (failureCount === FAILURES_UNTIL_WARNING) log.warn(message);
  else log.debug(message);
}
