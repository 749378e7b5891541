import { countOf } from "../../telemetry/format.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Cluster } from "../cluster.ts";
import type { TransactionPartition } from "../protocol/add_partitions_to_txn.ts";
import { PartitionProbe } from "../resolve/partition_probe.ts";
import type { TransactionIdentity } from "./coordinator.ts";
import type { Ending, HangingTransactions } from "./hanging_transaction.ts";

export interface UnendedPartitionsOptions {
  readonly cluster: Cluster;
  readonly hanging: Pick<HangingTransactions, "endIn">;
  readonly transactionalId: string;
  readonly log: Log;
}

/** The last transaction of this process that wrote to a partition. */
interface Written extends TransactionPartition {
  /** Epoch of the last one that was committed; -1: none was. */
  commitEpoch: number;
  /** Epoch of the last one that was aborted since; -1: none was. */
  abortEpoch: number;
  /** A batch of that one was acknowledged: it is there for certain. */
  isAbortedThere: boolean;
  /** It is of a process before this one, which may have written here or not. */
  isGuessed: boolean;
}

/**
 * Partitions of events in which the end of a transaction of this process may be missing: brokers leave markers out where there is no leader
 * (`HangingTransactions`). Nothing may be written to such a partition before that is looked at, or the end of the next transaction would be the end of
 * both. At most all partitions that this process has written to.
 */
export class UnendedPartitions {
  readonly #options: UnendedPartitionsOptions;
  readonly #written = new Map<string, Written>();
  readonly #suspects = new Set<string>();

  constructor(options: UnendedPartitionsOptions) {
    this.#options = options;
  }

  /** There is somebody to ask about one of them. */
  get canMend(): boolean {
    return this.#suspects.size > 0 && this.#due().length > 0;
  }

  /** A transaction with this epoch was committed. */
  committed(partitions: readonly TransactionPartition[], epoch: number): void {
    for (const each of partitions) {
      const written = { commitEpoch: epoch, abortEpoch: -1, isAbortedThere: false, isGuessed: false };
      this.#written.set(keyOf(each), { ...each, ...written });
    }
    this.suspectLeaderless();
  }

  /** It was aborted. `there`: those of the partitions that have acknowledged a batch of it. */
  aborted(
    partitions: readonly TransactionPartition[],
    there: readonly TransactionPartition[],
    epoch: number,
  ): void {
    const certain = new Set(there.map(keyOf));
    for (const each of partitions) {
      const key = keyOf(each);
      const commitEpoch = this.#written.get(key)?.commitEpoch ?? -1;
      const isAbortedThere = certain.has(key);
      this.#written.set(key, { ...each, commitEpoch, abortEpoch: epoch, isAbortedThere, isGuessed: false });
    }
  }

  /** A process before this one died in a transaction with this epoch, which was aborted; it may have written to these. */
  leftBehind(partitions: readonly TransactionPartition[], epoch: number): void {
    for (const each of partitions) {
      // Whatever is older was mended by that process, or is better kept.
      const written = { commitEpoch: epoch - 1, abortEpoch: epoch, isAbortedThere: false, isGuessed: true };
      this.#written.set(keyOf(each), { ...each, ...written });
    }
    this.suspect(partitions);
  }

  /** It was without a leader, or may have been. */
  suspect(partitions: readonly TransactionPartition[]): void {
    for (const each of partitions) if (this.#written.has(keyOf(each))) this.#suspects.add(keyOf(each));
  }

  /** Metadata has changed: whatever has no leader now is looked at when it has one again. */
  suspectLeaderless(): void {
    const { cluster } = this.#options;
    for (const [key, { topic, partition }] of this.#written) {
      if (cluster.leaderOf(topic, partition) < 0) this.#suspects.add(key);
    }
  }

  /** Nothing may be written to it now. */
  has(topic: string, partition: number): boolean {
    return this.#suspects.size > 0 && this.#suspects.has(keyOf({ topic, partition }));
  }

  /**
   * Looks at those that have a leader, when nothing of this process is open: what has no end is ended as it was the first time. Returns whether there
   * was any; then another InitProducerId has to follow. Rejects with KafkaError: the rest is looked at later.
   */
  async mend(identity: TransactionIdentity): Promise<boolean> {
    const unended: Record<Ending, Written[]> = { commit: [], abort: [] };
    const blind = new Set<string>();
    for (const each of this.#due()) {
      const probe = await PartitionProbe.open({ cluster: this.#options.cluster, ...each });
      const open = await probe.openTransaction(identity);
      if (open === "none" || (open === "unknown" && each.isGuessed)) this.#suspects.delete(keyOf(each));
      // Nobody may tell: a marker too many does no harm.
      else unended[endingIn(each, open === "unknown" ? null : open.epoch)].push(each);
      if (open === "unknown") blind.add(keyOf(each));
    }
    for (const ending of ["commit", "abort"] as const) {
      if (unended[ending].length === 0) continue;
      await this.#options.hanging.endIn(unended[ending], identity, ending);
      this.#tell(unended[ending], ending);
      // This end may be left out as well: the others are asked again.
      for (const each of unended[ending]) if (blind.has(keyOf(each))) this.#suspects.delete(keyOf(each));
    }
    return unended.commit.length + unended.abort.length > 0;
  }

  #due(): Written[] {
    const { cluster } = this.#options;
    return [...this.#suspects].map((key) => this.#written.get(key)!).filter(({ topic, partition }) =>
      cluster.leaderOf(topic, partition) >= 0
    );
  }

  #tell(partitions: readonly Written[], ending: Ending): void {
    const { log, transactionalId } = this.#options;
    const where = partitions.map(({ topic, partition }) => `${partition} of topic "${topic}"`);
    log.info(
      `A transaction of transactional id "${transactionalId}" is ended again (${ending}) in ${
        countOf(where.length, "partition")
      }, the first ` +
        `being ${where[0]}: the brokers may have lost its end while there was no leader`,
    );
  }
}

/** How the transaction ended whose end is missing there. `epoch`: of the last batch that the leader has of it; null: that is not known. */
export function endingIn(
  { commitEpoch, abortEpoch, isAbortedThere }: Pick<Written, "commitEpoch" | "abortEpoch" | "isAbortedThere">,
  epoch: number | null,
): Ending {
  if (commitEpoch < 0) return "abort";
  if (abortEpoch < 0) return "commit";
  if (epoch !== null && commitEpoch !== abortEpoch) return epoch === abortEpoch ? "abort" : "commit";
  // Whether anything of the aborted one is there, nobody knows: what was committed must not be lost.
  return isAbortedThere ? "abort" : "commit";
}

function keyOf({ topic, partition }: TransactionPartition): string {
  return `${topic}/${partition}`;
}
