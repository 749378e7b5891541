import { randomBytes } from "node:crypto";
import type { KafkaSinkConfig } from "../../config/config.ts";
import { crashPoint } from "../../telemetry/crash_point.ts";
import type { Log } from "../../telemetry/log.ts";
import { backoffMs } from "../backoff.ts";
import type { Cluster } from "../cluster.ts";
import { unlessAborted } from "../cluster_requests.ts";
import { KafkaError, RequestError } from "../errors.ts";
import type { TransactionPartition } from "../protocol/add_partitions_to_txn.ts";
import { ErrorCode } from "../protocol/error_codes.ts";
import { pause } from "../../pause.ts";
import { CONCURRENT_PAUSE_MS, isConcurrent, whileConcurrent } from "./concurrent.ts";
import { TransactionCoordinator, type TransactionIdentity } from "./coordinator.ts";
import { HangingTransactions } from "./hanging_transaction.ts";
import { type PositionMarker, PositionRecordWriter, StoredPositions } from "./position_records.ts";
import { PositionTopic } from "./position_topic.ts";
import { PositionWriter } from "./position_writer.ts";
import { UnendedPartitions } from "./unended_partitions.ts";
import { describeMarker, TransactionStop, verdictOn } from "./takeover.ts";
import type { PositionChange, TransactionPositions } from "./transaction_positions.ts";

export interface TransactionSessionOptions {
  readonly cluster: Cluster;
  readonly config: KafkaSinkConfig;
  readonly hostname: string;
  /** The topic of the events when it is the same for all; null: it is a template. */
  readonly fixedTopic: string | null;
  readonly positions: TransactionPositions;
  readonly log: Log;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly problem: (message: string, hint: string | null) => void;
  /** Default: FENCE_WAIT_MS. */
  readonly fenceWaitMs?: number;
}

/** Time for whoever has fenced this process to write its own marker; longer than a start takes. */
const FENCE_WAIT_MS = 5_000;
const FENCE_POLL_MS = 200;
/** What passes by itself while a cluster starts is mentioned after so many tries. */
const QUIET_TRIES = 5;

/**
 * What a sink has with the coordinator of its transactions and with the topic of its positions, from one InitProducerId to the next:
 *
 *     T1 find the coordinator -> T2 InitProducerId: fences who was there, ends what was open -> T3 read the positions
 *     T4 data (the producer's) and positions -> T5 EndTxn -> T6 the batches count as delivered
 *
 * Whatever goes wrong between T4 and T6 leads to T2. Then nothing is open any more, and the marker that T3 reads says whether the last
 * transaction was committed. Nothing is ever concluded from an error.
 */
export class TransactionSession {
  readonly #options: TransactionSessionOptions;
  readonly #coordinator: TransactionCoordinator;
  readonly #topic: PositionTopic;
  readonly #hanging: HangingTransactions;
  readonly #unended: UnendedPartitions;
  readonly #run = randomBytes(16).toString("hex");
  #identity: TransactionIdentity | null = null;
  #writer: PositionWriter | null = null;
  #records: PositionRecordWriter;
  #changes: readonly PositionChange[] = [];
  /** Of the last transaction that was committed; 0: none. */
  #committed = 0;
  /** What was found at the start, before this process wrote a marker of its own. */
  #before: PositionMarker | null = null;
  /** The last own marker, or the end of what was read at the start, is not in front of it. */
  #readFrom = 0;
  #isVersionTold = false;
  /** Where the transaction under way may have written. */
  #partitions: readonly TransactionPartition[] = [];
  /** Of the last transaction that was found to be aborted before positions were read; -1: none was. */
  #abortedEpoch = -1;

  constructor(options: TransactionSessionOptions) {
    this.#options = options;
    const { cluster, config: { transactionalId, transactionTimeoutMs, positionTopic } } = options;
    this.#coordinator = new TransactionCoordinator({ cluster, transactionalId, transactionTimeoutMs });
    this.#topic = new PositionTopic({ ...options, topic: positionTopic, transactionalId });
    this.#hanging = new HangingTransactions({
      ...options,
      coordinator: this.#coordinator,
      topic: this.#topic,
      transactionalId,
    });
    this.#unended = new UnendedPartitions({ ...options, hanging: this.#hanging, transactionalId });
    this.#records = new PositionRecordWriter(transactionalId, new Map());
  }

  /** Null before T2. */
  get identity(): TransactionIdentity | null {
    return this.#identity;
  }

  /** This process has not committed anything yet: until then nobody else can know of it. */
  get isUnannounced(): boolean {
    return this.#committed === 0;
  }

  /** Partitions that the end of a transaction may be missing in. */
  get unended(): Pick<UnendedPartitions, "canMend" | "has" | "suspectLeaderless"> {
    return this.#unended;
  }

  /** T1 to T3, until they have worked. Rejects with TransactionStop, or when `signal` aborts. */
  async start(): Promise<void> {
    const { transactionalId, positionTopic } = this.#options.config;
    await this.#untilItWorks(async () => {
      const stored = new StoredPositions(transactionalId);
      const endOffset = await this.#fence(0, (key, value) => stored.take(key, value));
      if (this.#abortedEpoch >= 0) {
        const partitions = [...stored.marker?.partitions ?? [], ...await this.#hanging.all()];
        this.#unended.leftBehind(partitions, this.#abortedEpoch);
      }
      this.#before = stored.marker;
      this.#readFrom = endOffset;
      this.#records = new PositionRecordWriter(transactionalId, stored.partCounts());
      try {
        this.#options.positions.restore(stored.values());
      } catch (error) {
        throw new TransactionStop(
          `Cannot use a position of transactional id "${transactionalId}" in topic "${positionTopic}": ${
            (error as Error).message
          }`,
        );
      }
    });
    const { log } = this.#options;
    const last = this.#before === null
      ? "none were stored before"
      : `the last came from ${describeMarker(this.#before)}`;
    log.info(`Positions of transactional id "${transactionalId}" were read: ${last}`);
  }

  /**
   * T2 and T3 after trouble, until they have worked. `inDoubt`: EndTxn of the transaction under way was sent, and what became of it is not
   * known. `partitions`: where it may have written; `there`: where it has. Returns whether it is committed. Rejects with TransactionStop when
   * another process has taken over.
   */
  async recover(
    inDoubt: boolean,
    partitions: readonly TransactionPartition[],
    there: readonly TransactionPartition[],
  ): Promise<"committed" | "aborted"> {
    this.#partitions = partitions;
    const { epoch } = this.#identity!;
    const verdict = await this.#untilItWorks(async () => {
      const { marker, isMoved } = await this.#readMarker();
      return this.#judge(marker, inDoubt, isMoved);
    });
    if (verdict === "committed") this.#isCommitted(partitions, epoch);
    else {
      this.#unended.aborted(partitions, there, epoch);
      this.#options.positions.notStored();
    }
    this.#unended.suspect(partitions);
    return verdict;
  }

  /** Between two transactions: looks at the partitions that the end of one may be missing in. Rejects with TransactionStop, or when `signal` aborts. */
  async mend(): Promise<void> {
    const { config, random, signal, problem } = this.#options;
    for (let failureCount = 1;; failureCount++) {
      try {
        if (await unlessAborted(this.#unended.mend(this.#identity!), signal)) break;
        return;
      } catch (error) {
        if (!(error instanceof KafkaError) || signal.aborted) throw error;
        problem(`${error.message}; trying again`, error.hint);
      }
      const pauseMs = backoffMs(failureCount, config.retryIntervalMs, config.retryMaxIntervalMs, random());
      await unlessAborted(Bun.sleep(pauseMs), signal);
      await this.recover(false, [], []);
    }
    await this.recover(false, [], []);
  }

  /**
   * The brokers say that this process was fenced, `ageMs` after its transaction began: by another one, or by a transaction that took too
   * long. Rejects with TransactionStop where it was another one; waits for its marker, but not where the time has run out.
   */
  async findSuccessor(ageMs: number): Promise<void> {
    const { config: { transactionTimeoutMs }, log, signal, fenceWaitMs = FENCE_WAIT_MS } = this.#options;
    const deadlineMs = performance.now() + (ageMs < transactionTimeoutMs ? fenceWaitMs : 0);
    for (;;) {
      try {
        // Behind the last own marker there is one of a successor, or none. What lies behind a transaction that is open, perhaps this process's
        // own, cannot be seen: nobody ends that one while it is waited for.
        const stored = this.#newMarkers();
        await this.#topic.read(this.#writer!.partition, this.#readFrom, stored.take, null);
        const { marker } = stored.positions;
        if (marker !== null && marker.run !== this.#run) throw this.#takenOver(marker);
      } catch (error) {
        if (!(error instanceof KafkaError) || signal.aborted) throw error;
        log.debug(`Positions could not be read: ${error.message}`);
      }
      if (performance.now() >= deadlineMs || signal.aborted) return;
      await pause(FENCE_POLL_MS, signal);
    }
  }

  /** Before transaction.version 2. Rejects with KafkaError. */
  async addPartitions(partitions: readonly TransactionPartition[]): Promise<void> {
    const { signal } = this.#options;
    await whileConcurrent(() => this.#coordinator.addPartitions(this.#identity!, partitions), signal);
  }

  /** The last of T4: positions, and the marker. `partitions`: where the transaction has written. Rejects with KafkaError. */
  async writePositions(partitions: readonly TransactionPartition[]): Promise<void> {
    crashPoint("txn_before_positions");
    const { positions, config: { positionTopic }, hostname, signal } = this.#options;
    const writer = this.#writer!;
    const changes = positions.takeChanges();
    this.#changes = changes;
    const marker = { run: this.#run, number: this.#committed + 1, host: hostname, partitions };
    if (!this.#identity!.isVersion2) {
      await this.addPartitions([{ topic: positionTopic, partition: writer.partition }]);
    }
    for (const records of writer.batchesOf(this.#records.records(changes, marker))) {
      await whileConcurrent(() => writer.write(records, this.#identity!), signal);
    }
    crashPoint("txn_after_positions");
  }

  /** T5 and T6. Rejects with KafkaError: then only `recover` knows. */
  async commit(partitions: readonly TransactionPartition[]): Promise<void> {
    const { epoch } = this.#identity!;
    this.#identity = await this.#coordinator.end(this.#identity!, true);
    crashPoint("txn_after_commit");
    this.#isCommitted(partitions, epoch);
  }

  /** For the end of the process, so that readers need not wait for the timeout. Never rejects. */
  async abort(): Promise<void> {
    if (this.#identity === null) return;
    await this.#coordinator.end(this.#identity, false).catch((error: unknown) =>
      this.#options.log.debug(`A transaction was left to its timeout: ${(error as Error).message}`)
    );
  }

  #isCommitted(partitions: readonly TransactionPartition[], epoch: number): void {
    this.#committed++;
    this.#unended.committed(partitions, epoch);
    this.#readFrom = this.#writer!.lastOffset;
    this.#records.committed(this.#changes);
    this.#changes = [];
    this.#options.positions.stored();
  }

  /** T1 to T3; returns the end of what was read. */
  async #fence(
    fromOffset: number,
    take: (key: Buffer | null, value: Buffer | null) => void,
  ): Promise<number> {
    const { cluster, config, signal } = this.#options;
    const partition = await this.#topic.partition();
    await unlessAborted(this.#hanging.ask(), signal);
    this.#identity = await unlessAborted(this.#coordinator.initProducer(), signal);
    this.#tellVersion(this.#identity);
    crashPoint("txn_after_init");
    const lastOffset = this.#writer?.lastOffset ?? 0;
    this.#writer = new PositionWriter({
      ...this.#options,
      cluster,
      topic: this.#topic,
      config,
      partition,
      lastOffset,
    });
    const own = { run: this.#run, committed: this.#committed, partitions: this.#partitions };
    const endOffset = await this.#topic.read(
      partition,
      fromOffset,
      take,
      (probe) => this.#hanging.look(probe, partition, this.#identity!, own),
    );
    this.#abortedEpoch = Math.max(this.#abortedEpoch, this.#hanging.forget());
    crashPoint("txn_after_positions_read");
    return endOffset;
  }

  /** Takes the marker alone, which has the shortest key. */
  #newMarkers() {
    const { transactionalId } = this.#options.config;
    const positions = new StoredPositions(transactionalId);
    const take = (key: Buffer | null, value: Buffer | null) => {
      if (positions.isMarker(key)) positions.take(key, value);
    };
    return { positions, take };
  }

  /** T1 to T3: the newest marker. `isMoved`: the topic is not the one it was. */
  async #readMarker(): Promise<{ marker: PositionMarker | null; isMoved: boolean }> {
    const before = this.#writer?.partition ?? -1;
    const read = async (fromOffset: number) => {
      const { positions, take } = this.#newMarkers();
      await this.#fence(fromOffset, take);
      return positions.marker;
    };
    try {
      const marker = await read(this.#readFrom);
      if (marker !== null && this.#writer!.partition === before) return { marker, isMoved: false };
    } catch (error) {
      if (!(error instanceof RequestError) || error.errorCode !== ErrorCode.OFFSET_OUT_OF_RANGE) throw error;
    }
    return { marker: await read(0), isMoved: true };
  }

  #judge(marker: PositionMarker | null, inDoubt: boolean, isMoved: boolean): "committed" | "aborted" {
    const { config: { transactionalId, positionTopic }, positions, log } = this.#options;
    const own = { run: this.#run, committed: this.#committed, before: this.#before };
    const verdict = verdictOn(marker, own);
    if (verdict === "lost") {
      if (!isMoved || inDoubt) {
        throw new TransactionStop(
          `Cannot find out what became of a transaction: the positions of transactional id "${transactionalId}" are not in topic ` +
            `"${positionTopic}" any more`,
        );
      }
      log.error(
        `Topic "${positionTopic}" lost the positions of transactional id "${transactionalId}": they are written again`,
      );
      this.#before = null;
      this.#committed = 0;
      this.#readFrom = 0;
      positions.changeAll();
      return "aborted";
    }
    if (verdict === "other") throw this.#takenOver(marker!);
    if (verdict === "committed" && !inDoubt) {
      throw new TransactionStop(
        `Transactional id "${transactionalId}" has a position that this process did not commit yet`,
      );
    }
    return verdict;
  }

  #takenOver(marker: PositionMarker): TransactionStop {
    return new TransactionStop(
      `Another process uses transactional id "${this.#options.config.transactionalId}" now (${
        describeMarker(marker)
      }): this one must not go on, and what it did not commit is left to the other`,
    );
  }

  #tellVersion({ isVersion2 }: TransactionIdentity): void {
    if (isVersion2 || this.#isVersionTold) return;
    this.#isVersionTold = true;
    this.#options.log.warn(
      "The brokers do not number transactions (transaction.version is below 2): a request that is delayed on the network beyond the end of its " +
        "transaction may get into the next one",
      { hint: "kafka-features upgrade --feature transaction.version=2 (Kafka 4.0 or later)" },
    );
  }

  async #untilItWorks<T>(work: () => Promise<T>): Promise<T> {
    const { config, random, signal, problem } = this.#options;
    for (let failureCount = 0;;) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof KafkaError) || signal.aborted) throw error;
        if (isFinal(error)) throw new TransactionStop(withHint(error));
        if (isConcurrent(error)) {
          await unlessAborted(Bun.sleep(CONCURRENT_PAUSE_MS), signal);
          continue;
        }
        failureCount++;
        if (failureCount > QUIET_TRIES || !isPassing(error)) {
          problem(`${error.message}; trying again`, error.hint);
        }
      }
      const pauseMs = backoffMs(failureCount, config.retryIntervalMs, config.retryMaxIntervalMs, random());
      await unlessAborted(Bun.sleep(pauseMs), signal);
    }
  }
}

/** Usual while a coordinator moves, or the topics are being created. */
function isPassing(error: KafkaError): boolean {
  return error instanceof RequestError && (
    error.errorCode === ErrorCode.LEADER_NOT_AVAILABLE ||
    error.errorCode === ErrorCode.COORDINATOR_NOT_AVAILABLE ||
    error.errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS ||
    error.errorCode === ErrorCode.NOT_COORDINATOR
  );
}

/** A refusal that no waiting heals. */
function isFinal(error: KafkaError): boolean {
  return error.code === "unsupported-version" ||
    (error instanceof RequestError && error.errorCode === ErrorCode.INVALID_TRANSACTION_TIMEOUT);
}

function withHint({ message, hint }: KafkaError): string {
  return hint === null ? message : `${message} (${hint})`;
}
