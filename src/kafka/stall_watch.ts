import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { Cluster } from "./cluster.ts";
import type { PartitionSender } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";

/** A partition is stalled after so many times `socket_timeout_ms`, each step later again: every timeout of its own has had its turn by then. */
export const STALL_SOCKET_TIMEOUTS = 2;
/** It is looked this often in the time after which a partition is stalled. */
const LOOKS = 4;

/** What is done, in this order; the last one again and again. */
const STEPS = ["refresh", "reconnect", "rebuild"] as const;
export type StallStep = typeof STEPS[number];

const DOING: Readonly<Record<StallStep, string>> = {
  refresh: "its leader is asked for again",
  reconnect: "a new connection is made to its leader",
  rebuild: "what is known of its leader is forgotten, and the cluster asked anew",
};

export interface StallWatchOptions {
  readonly cluster: Cluster;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  readonly stallMs: number;
  readonly monotonic: () => number;
  readonly signal: AbortSignal;
  /** Partitions that hold anything. */
  readonly queues: () => Iterable<PartitionSender>;
  /** The batch waits for nothing here: no producer id, no disk. */
  readonly isSendable: (batch: ProduceBatch) => boolean;
  readonly wantMetadata: (topic: string) => void;
  /** Forgets how things stand with a broker, and begins anew. */
  readonly rebuild: (nodeId: number) => void;
}

interface Waiting {
  readonly head: ProduceBatch;
  sinceMs: number;
  stepCount: number;
}

/**
 * Looks for partitions whose first batch could go and does not, without an answer of any kind: whatever is stuck (a broker or a network that swallows, a
 * timer that a clock has fooled, a mistake here), it is taken up again step by step. What was in flight keeps its numbers: a broker recognises a repeat.
 *
 * A broker that answers with errors is no stall, nor is one that asks to wait (a quota).
 */
export class StallWatch {
  readonly #options: StallWatchOptions;
  readonly #waiting = new Map<PartitionSender, Waiting>();

  constructor(options: StallWatchOptions) {
    this.#options = options;
    const timer = setInterval(() => this.look(), Math.max(1, options.stallMs / LOOKS));
    timer.unref();
    options.signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  /** Called by a timer. */
  look(): void {
    const { queues, monotonic, isSendable } = this.#options;
    const nowMs = monotonic();
    const seen = new Set<PartitionSender>();
    for (const queue of queues()) {
      const head = queue.sealed[0];
      // What became of a batch is asked for with timeouts of its own, and answers may say to wait for replicas.
      if (head === undefined || head.hold !== null || queue.isInDoubt || !isSendable(head)) continue;
      seen.add(queue);
      this.#lookAt(queue, head, nowMs);
    }
    for (const queue of this.#waiting.keys()) if (!seen.has(queue)) this.#waiting.delete(queue);
  }

  #lookAt(queue: PartitionSender, head: ProduceBatch, nowMs: number): void {
    const { cluster, stallMs } = this.#options;
    let waiting = this.#waiting.get(queue);
    if (waiting === undefined || waiting.head !== head) {
      this.#waiting.set(queue, waiting = { head, sinceMs: nowMs, stepCount: 0 });
    }
    const leader = cluster.leaderOf(queue.topic, queue.id);
    const isThrottled = (cluster.openConnection(leader)?.throttledUntilMs ?? 0) > performance.now();
    // It is alive, and has said what it thinks of the batch, or of all of ours.
    const aliveMs = isThrottled ? nowMs : queue.answeredMs;
    if (aliveMs > waiting.sinceMs) {
      waiting.sinceMs = aliveMs;
      waiting.stepCount = 0;
    }
    if (nowMs - waiting.sinceMs < stallMs * (waiting.stepCount + 1)) return;
    this.#act(queue, waiting, leader, nowMs);
  }

  #act(queue: PartitionSender, waiting: Waiting, leader: number, nowMs: number): void {
    const { cluster, metrics, log, wantMetadata, rebuild } = this.#options;
    const { head, sinceMs, stepCount } = waiting;
    const step = STEPS[Math.min(stepCount, STEPS.length - 1)]!;
    waiting.stepCount++;
    metrics.stalls.add(step);
    if (stepCount < STEPS.length) {
      log.warn(
        `Partition ${queue.id} of topic "${queue.topic}" has been waiting for ${
          Math.round((nowMs - sinceMs) / 1_000)
        } s, and no broker has ` +
          `answered for it: ${DOING[step]}`,
        {
          leader,
          connected: cluster.openConnection(leader) !== null,
          in_flight: head.isInFlight,
          attempts: head.attemptCount,
          ...(metrics.lastError === null ? {} : { last_error: metrics.lastError }),
        },
      );
    }
    if (step === "reconnect") cluster.openConnection(leader)?.close();
    if (step === "rebuild") rebuild(leader);
    wantMetadata(queue.topic);
  }
}
