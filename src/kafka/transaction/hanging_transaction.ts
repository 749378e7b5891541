import type { Log } from "../../telemetry/log.ts";
import type { Cluster } from "../cluster.ts";
import { unlessAborted } from "../cluster_requests.ts";
import { RequestError } from "../errors.ts";
import type { TransactionPartition } from "../protocol/add_partitions_to_txn.ts";
import { ErrorCode } from "../protocol/error_codes.ts";
import type { OpenTransaction, PartitionProbe } from "../resolve/partition_probe.ts";
import { whileConcurrent } from "./concurrent.ts";
import type { TransactionCoordinator, TransactionIdentity } from "./coordinator.ts";
import { type PositionMarker, StoredPositions } from "./position_records.ts";
import type { PositionTopic } from "./position_topic.ts";

export type Ending = "commit" | "abort";

/** What the coordinator said of the last transaction, right before InitProducerId made it forget. */
export interface LastTransaction {
  /** Null: it does not say. */
  readonly ending: Ending | null;
  /** The int64 as 8 bytes, big endian. */
  readonly producerId: Buffer;
  readonly epoch: number;
  /** Epoch of one that was open when it was asked before, and has been ended since; -1: none was. */
  readonly openEpoch: number;
}

/** What this process knows of its transactions. */
export interface OwnTransactions {
  readonly run: string;
  /** Number of the last one that is committed for certain; 0: none. */
  readonly committed: number;
  /** Partitions that the last one may have written to. */
  readonly partitions: readonly TransactionPartition[];
}

export interface HangingTransactionsOptions {
  readonly cluster: Cluster;
  readonly coordinator: TransactionCoordinator;
  readonly topic: PositionTopic;
  readonly transactionalId: string;
  /** The topic of the events when it is the same for all; null: it is a template. */
  readonly fixedTopic: string | null;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** While an open transaction is waited for, it is looked this often whether anybody is going to end it. */
const LOOK_MS = 1_000;

const ENDINGS: Readonly<Record<string, Ending>> = {
  PrepareCommit: "commit",
  CompleteCommit: "commit",
  PrepareAbort: "abort",
  CompleteAbort: "abort",
};

/**
 * Ends transactions of the own id that the brokers have lost the end of.
 *
 * A coordinator writes down that a transaction is to be committed (or aborted), and then has a marker written to each of its partitions. One that
 * finds a partition without a leader takes it for deleted, and calls the transaction complete without the marker (seen with Kafka 4.3.1; up to 4.0
 * it waited for a leader). So it is, for a moment, when the only broker of a cluster comes back after kill -9. What it wrote to the partition then
 * stays open for good: nobody knows of it, no timeout ends it, and readers with read_committed stop there.
 *
 * A marker of a later transaction of the same producer ends it too. So one without records is made for all its partitions, and ended as that one
 * was. How that was is known from the coordinator, asked before InitProducerId, and from the marker among the positions.
 */
export class HangingTransactions {
  readonly #options: HangingTransactionsOptions;
  #last: LastTransaction | null = null;
  /** What was found out of the transaction that begins at an offset of the position topic: a second try needs no second proof. */
  #found: { readonly startOffset: number; readonly ending: Ending } | null = null;
  #lookAtMs = 0;
  #isTold = false;

  constructor(options: HangingTransactionsOptions) {
    this.#options = options;
  }

  /** To be called right before InitProducerId. Rejects with KafkaError. */
  async ask(): Promise<void> {
    const told = await this.#options.coordinator.describe();
    if (told === null) this.#last = null;
    else if (told.state !== "Empty") {
      const { producerId, producerEpoch: epoch } = told;
      const openEpoch = told.state === "Ongoing" ? epoch : this.#last?.openEpoch ?? -1;
      this.#last = { ending: ENDINGS[told.state] ?? null, producerId, epoch, openEpoch };
    }
    // "Empty": InitProducerId was answered after the last question, or its answer was lost. What was said before still holds.
  }

  /**
   * Positions were read: nothing hangs there. What the coordinator said is of no use for a transaction that begins now. Returns the epoch of the last
   * one if it was aborted, else -1.
   */
  forget(): number {
    const last = this.#last;
    this.#last = null;
    this.#found = null;
    if (last?.ending !== "abort") return -1;
    return last.openEpoch >= 0 ? last.openEpoch : last.epoch - 1;
  }

  /**
   * Something is open in the partition of positions, and the coordinator says that nothing is. Returns when it is another producer's, or when nobody
   * can tell how it ended; rejects with CONCURRENT_TRANSACTIONS when it was ended here, which takes another InitProducerId.
   */
  async look(
    probe: PartitionProbe,
    partition: number,
    identity: TransactionIdentity,
    own: OwnTransactions,
  ): Promise<void> {
    if (performance.now() < this.#lookAtMs) return;
    this.#lookAtMs = performance.now() + LOOK_MS;
    const { topic, signal, log, transactionalId } = this.#options;
    const open = await unlessAborted(probe.openTransaction(identity), signal);
    // A later epoch: another process has taken over, and will end it.
    if (open === "none" || open === "unknown" || open.epoch >= identity.epoch) return;
    const { marker, partitions } = await this.#markers(probe, open, identity);
    const ending = this.#endingOf(open, marker, identity, own);
    const where = `in partition ${partition} of topic "${topic.name}", from offset ${open.startOffset} on`;
    if (ending === null) {
      this.#tellUnknown(where, partition, open.startOffset);
      return;
    }
    this.#found = { startOffset: open.startOffset, ending };
    log.warn(
      `The brokers lost the end of a transaction of transactional id "${transactionalId}" ${where}: it is ended again (${ending})`,
    );
    const others = marker === null && own.committed === 0 ? await this.all() : [];
    await this.#end([...partitions, ...own.partitions, ...others], partition, identity, ending);
    throw new RequestError("CONCURRENT_TRANSACTIONS", "A transaction was ended again", {
      errorCode: ErrorCode.CONCURRENT_TRANSACTIONS,
    });
  }

  #endingOf(
    { startOffset, epoch }: OpenTransaction,
    marker: PositionMarker | null,
    { producerId }: TransactionIdentity,
    own: OwnTransactions,
  ): Ending | null {
    if (this.#found?.startOffset === startOffset) return this.#found.ending;
    const last = this.#last !== null && this.#last.producerId.equals(producerId) ? this.#last : null;
    return endingOf(marker, epoch, last, own);
  }

  /** The newest own marker among what is open, and the partitions that such markers name. */
  async #markers(probe: PartitionProbe, open: OpenTransaction, { producerId }: TransactionIdentity) {
    const { topic, transactionalId } = this.#options;
    const stored = new StoredPositions(transactionalId);
    const partitions: TransactionPartition[] = [];
    await topic.readOpen(probe, open.startOffset, producerId, (key, value) => {
      if (!stored.isMarker(key)) return;
      stored.take(key, value);
      partitions.push(...stored.marker?.partitions ?? []);
    });
    return { marker: stored.marker, partitions };
  }

  /** Of a process that wrote nothing before, and left no marker: all that it may have written to, as far as that is known. Rejects with KafkaError. */
  async all(): Promise<TransactionPartition[]> {
    const { cluster, fixedTopic, signal } = this.#options;
    if (fixedTopic === null) return [];
    await unlessAborted(cluster.refresh([fixedTopic], "a transaction may be open in it"), signal);
    const { partitions } = cluster.topic(fixedTopic) ?? { partitions: [] };
    return partitions.map(({ id }) => ({ topic: fixedTopic, partition: id }));
  }

  /** All of them, and positions last: while those are open, a repair that was cut off is begun again. */
  async #end(
    wanted: readonly TransactionPartition[],
    positions: number,
    identity: TransactionIdentity,
    ending: Ending,
  ): Promise<void> {
    const { cluster, topic, signal } = this.#options;
    const topics = new Set(wanted.map((each) => each.topic)).add(topic.name);
    await unlessAborted(cluster.refresh([...topics], "a transaction is ended again"), signal);
    const own = { topic: topic.name, partition: positions };
    const others = distinct(wanted).filter((each) =>
      (each.topic !== own.topic || each.partition !== own.partition) &&
      // It was deleted since.
      cluster.topic(each.topic)?.partitions.some(({ id }) => id === each.partition) === true
    );
    for (const each of [...others, own]) {
      // Its marker would be left out again.
      if (cluster.leaderOf(each.topic, each.partition) >= 0) continue;
      const message =
        `Cannot end a transaction again: partition ${each.partition} of topic "${each.topic}" has no leader`;
      throw new RequestError("leader-unknown", message);
    }
    await this.endIn(others, identity, ending);
    await this.endIn([own], identity, ending);
  }

  /**
   * Has markers written to partitions, by a transaction without records; a marker where nothing is open does no harm. Another InitProducerId has to
   * follow. Rejects with KafkaError.
   */
  async endIn(
    partitions: readonly TransactionPartition[],
    identity: TransactionIdentity,
    ending: Ending,
  ): Promise<void> {
    if (partitions.length === 0) return;
    const { coordinator, signal } = this.#options;
    // Without records nothing needs the numbers of transaction.version 2, under which there is no other way to name partitions.
    const plain = { ...identity, isVersion2: false };
    await whileConcurrent(() => coordinator.addPartitions(plain, partitions), signal);
    await coordinator.end(plain, ending === "commit");
  }

  #tellUnknown(where: string, partition: number, startOffset: number): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const { log, topic, cluster, transactionalId } = this.#options;
    log.error(
      `The brokers lost the end of a transaction of transactional id "${transactionalId}" ${where}, and nobody can tell whether it was ` +
        "committed: nothing is read until somebody ends it",
      {
        hint:
          `kafka-transactions --bootstrap-server ${
            cluster.options.bootstrapServers[0]
          } abort --topic ${topic.name} ` +
          `--partition ${partition} --start-offset ${startOffset} has its lines sent again, which may be there already`,
      },
    );
  }
}

/**
 * How a transaction ended that is open in the partition of positions alone. `marker`: the newest one in it; `epoch`: of its last batch there. Null:
 * that is not known.
 */
export function endingOf(
  marker: PositionMarker | null,
  epoch: number,
  last: LastTransaction | null,
  own: Pick<OwnTransactions, "run" | "committed">,
): Ending | null {
  // It is the last that is written before a commit: nobody has asked for one.
  if (marker === null) return "abort";
  const isOwn = marker.run === own.run;
  if (isOwn && marker.number <= own.committed) return "commit";
  // A later transaction that was committed would have written here, and its marker would have ended this one.
  if (last?.ending === "commit") return "commit";
  if (last?.ending !== "abort") return null;
  // What was aborted may be a later one, unless it is this process's last, was open just before, or was the next to change the epoch.
  return isOwn || last.openEpoch === epoch || last.epoch === epoch + 1 ? "abort" : null;
}

function distinct(partitions: readonly TransactionPartition[]): TransactionPartition[] {
  return [...new Map(partitions.map((each) => [`${each.topic}/${each.partition}`, each])).values()];
}
