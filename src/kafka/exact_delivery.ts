import { areEventsTied } from "../batch/partitioners.ts";
import { DoubtKeeper, type DoubtOptions } from "./doubt_keeper.ts";
import { ExactlyOnce, type ExactlyOnceOptions } from "./exactly_once.ts";
import type { PartitionSender, ProducerIdentity } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";
import { ProtectionWatch } from "./protection_watch.ts";
import { findPartition } from "./topic_cache.ts";

export type ExactDeliveryOptions =
  & Omit<ExactlyOnceOptions, "onAcknowledged" | "hasKeys">
  & Omit<DoubtOptions, "exactlyOnce">;

/** What exactly-once delivery adds to a producer: intents, what becomes of batches in doubt, and whether brokers still help. */
export class ExactDelivery {
  readonly exactlyOnce: ExactlyOnce;
  readonly doubts: DoubtKeeper;
  readonly #options: ExactDeliveryOptions;
  readonly #protection: ProtectionWatch;
  #hasIdentity = false;

  constructor(options: ExactDeliveryOptions) {
    this.#options = options;
    this.#protection = new ProtectionWatch({ ...options, dedupWindowMs: options.config.dedupWindowMs });
    this.exactlyOnce = new ExactlyOnce({
      ...options,
      hasKeys: areEventsTied(options.config),
      onAcknowledged: (queue) => this.#protection.acknowledged(queue),
    });
    this.doubts = new DoubtKeeper({ ...options, exactlyOnce: this.exactlyOnce });
  }

  identityObtained(identity: ProducerIdentity): void {
    this.#hasIdentity = true;
    this.exactlyOnce.identityObtained(identity);
    this.#protection.start(identity);
  }

  /** Something is in the journal, or may be: intents go on, whatever the brokers can do. */
  get isCommitted(): boolean {
    return this.#hasIdentity || !this.doubts.isIdle;
  }

  /** The intent is in the journal, and sending (again) is safe; has that found out where it is not certain. */
  canSend(queue: PartitionSender, head: ProduceBatch): boolean {
    if (!head.isNumbered || !head.isDurable || queue.replacement !== null) return false;
    const { cluster, now, monotonic } = this.#options;
    const topic = cluster.topic(queue.topic);
    const topicId = topic?.topicId ?? null;
    const isOther = isAnother(head.topicId, topicId) || isAnother(head.clusterId, cluster.clusterId);
    if (isOther && !head.isInDoubt) {
      this.exactlyOnce.renumber(queue, [head], "other-topic");
      return false;
    }
    const leaderEpoch = topic === undefined ? -1 : findPartition(topic, queue.id)?.leaderEpoch ?? -1;
    if (isOther || this.doubts.mustResolve(head, leaderEpoch)) {
      this.doubts.startLive(queue, head, { refusal: null, isRefused: false });
      return false;
    }
    if (head.firstSentMs === 0) {
      head.firstSentMs = now();
      head.firstSentMonotonicMs = monotonic();
    }
    head.leaderEpoch = leaderEpoch;
    return true;
  }

  /** Of a queue whose partition is no more, after its batches went to `target` without their numbers. */
  movedAway(queue: PartitionSender, target: PartitionSender, cancelledIds: readonly number[]): void {
    const { cancelledIds: earlier, gone } = queue.replacement ?? { cancelledIds: [], gone: [] };
    queue.replacement = null;
    const ids = [...cancelledIds, ...earlier];
    if (ids.length > 0) this.exactlyOnce.replaceIds(target, ids, gone, "other-topic");
  }

  close(): void {
    this.#protection.close();
    this.exactlyOnce.close();
  }
}

/** False where one of them is not known. */
function isAnother(before: string | null, now: string | null): boolean {
  return before !== null && now !== null && before !== now;
}
