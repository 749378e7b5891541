import type { Accumulator } from "../batch/accumulator.ts";
import type { KafkaSinkConfig } from "../config/config.ts";
import type { HeldLines } from "../event/tracked_region.ts";
import { crashPoint } from "../telemetry/crash_point.ts";
import { countOf } from "../telemetry/format.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { ArenaPool } from "./arena_pool.ts";
import type { Cluster } from "./cluster.ts";
import type { ExactlyOnce } from "./exactly_once.ts";
import type { IntentLog, RecoveredIntent } from "./intent_log.ts";
import { LiveDoubt } from "./live_doubt.ts";
import type { PartitionSender } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";
import { countAge, countRecovered, rebuildBatch, type Rebuilding, type Rebuilt } from "./recovered_batch.ts";
import { byProducer, doubtOf } from "./recovered_groups.ts";
import { waitReplicated } from "./resolve/replication.ts";
import { RECHECK_MS, type ResolveOptions, resolvePartition } from "./resolve/resolver.ts";
import { pause } from "../pause.ts";
import type { Verdict } from "./resolve/verdict.ts";

export interface DoubtOptions extends Pick<ResolveOptions, "recheckMs" | "isTopicGone"> {
  readonly config: KafkaSinkConfig;
  readonly cluster: Cluster;
  readonly accumulator: Accumulator<ProduceBatch, PartitionSender>;
  readonly exactlyOnce: ExactlyOnce;
  readonly intents: IntentLog;
  readonly pool: ArenaPool;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  readonly now: () => number;
  readonly monotonic: () => number;
  readonly random: () => number;
  readonly compress: (batch: ProduceBatch) => void;
  /** The batch was found in the log of all replicas in sync. */
  readonly deliver: (queue: PartitionSender, batch: ProduceBatch) => void;
  readonly onReady: () => void;
  /** The sink must not go on: `message` says why. */
  readonly onFatal: (message: string) => void;
  readonly signal: AbortSignal;
}

type Written = Extract<Verdict, { kind: "written" }>;

/**
 * Finds out what became of batches in doubt, in the background and for each partition apart: those that an earlier run left open, and those of
 * this run whose answer says nothing. Nothing is sent to the partition meanwhile.
 *
 * It may be ended at any moment and started again by the next run: until an acknowledgement or a replacement is in the journal, the same
 * intents are open.
 */
export class DoubtKeeper {
  readonly #options: DoubtOptions;
  readonly #recovered = new Map<string, RecoveredIntent[]>();
  readonly #rebuilt = new Map<number, Promise<Rebuilt | null>>();
  readonly #live: LiveDoubt;

  constructor(options: DoubtOptions) {
    this.#options = options;
    this.#live = new LiveDoubt(options);
    for (const intent of options.intents.recovered) {
      const key = partitionKey(intent.topic, intent.partition);
      const list = this.#recovered.get(key);
      if (list === undefined) this.#recovered.set(key, [intent]);
      else list.push(intent);
      // What this run may journal, and a crash leave to the next, has to share the memory with it: or each run would leave more than the last.
      options.accumulator.reserve(intent.sizeBytes);
    }
  }

  /** Batches of earlier runs wait for their partition. */
  get isIdle(): boolean {
    return this.#recovered.size === 0;
  }

  /** Topics that have to be known before what an earlier run left open can be found out. */
  recoveredTopics(): string[] {
    return [...new Set([...this.#recovered.values()].map((list) => list[0]!.topic))];
  }

  /** A partition has become known: takes up what an earlier run left open in it. */
  attach(queue: PartitionSender): void {
    const key = partitionKey(queue.topic, queue.id);
    if (queue.isInDoubt || !this.#recovered.has(key)) return;
    this.#work(queue, () => this.#recover(queue, key));
  }

  /** The topic has fewer partitions than before: what is open in those that are no more belongs to `queueFor`'s answer. */
  attachMissing(
    topic: string,
    partitionCount: number,
    queueFor: (partition: number) => PartitionSender,
  ): void {
    for (const [key, [first]] of this.#recovered) {
      if (first!.topic !== topic || first!.partition < partitionCount) continue;
      const queue = queueFor(first!.partition);
      if (!queue.isInDoubt) this.#work(queue, () => this.#recover(queue, key));
    }
  }

  /**
   * The head of the queue may have been written. `refusal`: what to do about its last answer, once it is certain that it was not. `isRefused`:
   * the broker does not take its numbers.
   */
  startLive(
    queue: PartitionSender,
    batch: ProduceBatch,
    why: { readonly refusal: (() => void) | null; readonly isRefused: boolean },
  ): void {
    this.#work(queue, () => this.#live.resolve(queue, batch, why));
  }

  /** Whether an in-doubt batch must not simply be sent again: too old, another leader, or clocks that cannot be trusted. */
  mustResolve(batch: ProduceBatch, leaderEpoch: number): boolean {
    return this.#live.mustResolve(batch, leaderEpoch);
  }

  #work(queue: PartitionSender, task: () => Promise<void>): void {
    const { metrics, signal, onFatal, onReady } = this.#options;
    queue.isInDoubt = true;
    metrics.doubtStarted(this.#options.now());
    task().catch((error: unknown) => {
      if (signal.aborted) return;
      onFatal(
        `Cannot find out what became of batches of partition ${queue.id} of topic "${queue.topic}": ${
          error instanceof Error ? error.message : error
        }`,
      );
    }).finally(() => {
      queue.isInDoubt = false;
      metrics.doubtEnded();
      onReady();
    });
  }

  async #recover(queue: PartitionSender, key: string): Promise<void> {
    const { accumulator, signal, compress } = this.#options;
    const rebuilt: Rebuilding = { batches: [], replacements: [], isRenumbering: false };
    const used: ProduceBatch[] = [];
    try {
      for (const group of byProducer(this.#recovered.get(key)!)) {
        rebuilt.isRenumbering = false;
        await this.#recoverGroup(queue, group, rebuilt);
        if (signal.aborted) return;
      }
      used.push(...rebuilt.batches);
    } finally {
      for (const intent of this.#recovered.get(key)!) await this.#dropUnused(intent, used);
    }
    if (signal.aborted) return used.forEach((batch) => batch.release());
    for (const { sizeBytes } of this.#recovered.get(key)!) accumulator.reserve(-sizeBytes);
    this.#recovered.delete(key);
    for (const batch of rebuilt.batches) countRecovered(batch, this.#options.metrics);
    accumulator.prepend(queue, rebuilt.batches);
    // Not before: a round of journalling would cancel an intent without the batch that takes its place, and number those behind it first.
    for (const replace of rebuilt.replacements) replace();
    for (const batch of rebuilt.batches) compress(batch);
  }

  /** Batches of one producer id and epoch. Those that have to be sent are added to `out`, in order. */
  async #recoverGroup(
    queue: PartitionSender,
    group: readonly RecoveredIntent[],
    out: Rebuilding,
  ): Promise<void> {
    let left = group;
    let isChangeConfirmed = false;
    while (left.length > 0) {
      const verdict = await resolvePartition(this.#resolveOptions(left));
      crashPoint("during_resolve");
      switch (verdict.kind) {
        case "written":
          if (!(await this.#isReplicated(left, verdict))) continue;
          this.#acknowledge(left.slice(0, verdict.writtenCount));
          left = left.slice(verdict.writtenCount);
          continue;
        case "unwritten":
          if (!isChangeConfirmed && await this.#hasChanged(left)) {
            // They need new numbers: a late request of the old ones has shown itself by then.
            isChangeConfirmed = true;
            await pause(this.#options.recheckMs ?? RECHECK_MS, this.#options.signal);
            continue;
          }
          this.#options.metrics.resolved.add("unwritten", left.length);
          for (const intent of left) await this.#sendAgain(queue, intent, out, "unwritten");
          return;
        case "resend":
          for (const intent of left) {
            if (await this.#hasChanged([intent])) await this.#decide(queue, intent, out, verdict);
            else await this.#sendAgain(queue, intent, out, "resend", verdict.topicId);
          }
          return;
        case "replace":
          if (verdict.isDataLossAtBroker) this.#tellLost(queue, left);
          for (const intent of left) await this.#replace(queue, intent, out, verdict.reason);
          return;
        case "journal-behind":
          this.#tellBehind(queue, left);
          this.#acknowledge(left.slice(0, verdict.writtenCount));
          left = left.slice(verdict.writtenCount);
          if (verdict.isRestUnwritten) {
            for (const intent of left) await this.#replace(queue, intent, out, verdict.reason);
          } else for (const intent of left) await this.#decide(queue, intent, out, verdict);
          return;
        case "undecidable":
          for (const intent of left) await this.#decide(queue, intent, out, verdict);
          return;
      }
    }
  }

  #resolveOptions(intents: readonly RecoveredIntent[]) {
    const { config, recheckMs } = this.#options;
    return {
      ...this.#options,
      topic: intents[0]!.topic,
      partition: intents[0]!.partition,
      batches: intents.map(doubtOf),
      dedupWindowMs: config.dedupWindowMs,
      scanBytesMax: config.resolveScanMaxBytes,
      // A clock that was set while no process ran cannot be noticed; a time in the future can.
      hasClockJumped: intents.some(({ baseTimestampMs }) => baseTimestampMs > this.#options.now() + 60_000),
      ...(recheckMs === undefined ? {} : { recheckMs }),
    };
  }

  async #isReplicated(intents: readonly RecoveredIntent[], verdict: Written): Promise<boolean> {
    if (verdict.isReplicated || verdict.provenOffset < 0) return true;
    const { topic, partition } = intents[0]!;
    const { provenOffset: offset, leaderEpoch, topicId = intents[0]!.topicId } = verdict;
    return await waitReplicated({ ...this.#options, topic, partition, topicId, offset, leaderEpoch });
  }

  #acknowledge(written: readonly RecoveredIntent[]): void {
    const { intents, metrics } = this.#options;
    metrics.resolved.add("written", written.length);
    for (const intent of written) {
      intents.acknowledge(intent.id);
      for (const { region, count } of intent.heldLines()) region.settle(count);
    }
  }

  /** Made once: a batch is read again and kept until it is clear what becomes of it. Null at the end of the run. */
  #rebuild(intent: RecoveredIntent): Promise<Rebuilt | null> {
    const rebuilding = this.#rebuilt.get(intent.id) ?? rebuildBatch(intent, this.#options);
    this.#rebuilt.set(intent.id, rebuilding);
    return rebuilding;
  }

  /** Gives back what was read again and is not sent after all. */
  async #dropUnused({ id }: RecoveredIntent, used: readonly ProduceBatch[]): Promise<void> {
    const batch = (await this.#rebuilt.get(id))?.batch ?? null;
    this.#rebuilt.delete(id);
    if (batch !== null && !used.includes(batch)) batch.release();
  }

  /** Whether one of them cannot be sent as it was. */
  async #hasChanged(intents: readonly RecoveredIntent[]): Promise<boolean> {
    for (const intent of intents) if ((await this.#rebuild(intent))?.isSame === false) return true;
    return false;
  }

  /** The same events under the same numbers; new ones when they are not the same any more, or none when their bytes are gone. */
  async #sendAgain(
    queue: PartitionSender,
    intent: RecoveredIntent,
    out: Rebuilding,
    why: "unwritten" | "resend" | "undecidable",
    topicId?: string,
  ): Promise<void> {
    const rebuilt = await this.#rebuild(intent);
    if (rebuilt === null) return;
    if (!rebuilt.isSame || out.isRenumbering) {
      // What follows it would leave a hole in the sequence.
      out.isRenumbering = true;
      rebuilt.batch?.clearNumbers();
      return this.#sendChanged(queue, intent, rebuilt, out, "changed");
    }
    const batch = rebuilt.batch!;
    batch.adoptTopic(topicId);
    batch.isLastTry = why === "undecidable";
    if (why === "resend") countAge(batch, this.#options);
    out.batches.push(batch);
  }

  async #replace(
    queue: PartitionSender,
    intent: RecoveredIntent,
    out: Rebuilding,
    reason: string,
  ): Promise<void> {
    this.#options.metrics.resolved.add(reason === "topic-missing" ? reason : "replaced");
    const rebuilt = await this.#rebuild(intent);
    if (rebuilt === null) return;
    rebuilt.batch?.clearNumbers();
    this.#sendChanged(queue, intent, rebuilt, out, reason);
  }

  /** What is left of the batch goes out under new numbers; what is not is lost. */
  #sendChanged(
    queue: PartitionSender,
    intent: RecoveredIntent,
    { batch, gone }: Rebuilt,
    out: Rebuilding,
    reason: string,
  ): void {
    if (batch === null) return this.#giveUp(queue, intent, out, "source_gone");
    const { exactlyOnce } = this.#options;
    out.batches.push(batch);
    out.replacements.push(() => {
      const lost = { kind: "lost" as const, reason: "source_gone", lines: gone };
      exactlyOnce.replaceIds(queue, [intent.id], gone.length === 0 ? [] : [lost], reason);
      for (const { region, count } of gone) region.settle(count);
    });
    this.#tellParts(intent, batch, gone);
  }

  #tellParts(intent: RecoveredIntent, batch: ProduceBatch, gone: readonly HeldLines[]): void {
    const { log, metrics } = this.#options;
    const heldCount = gone.reduce((sum, { count }) => sum + count, 0);
    const restCount = intent.count - batch.count - heldCount;
    // What is in no region any more came from a file that was forgotten, or from stdin where not all came from files.
    const goneCount = heldCount + (intent.isWhole ? restCount : 0);
    if (goneCount > 0) {
      metrics.loseRecovered("source_gone", goneCount, gone);
      log.error(
        `Lost ${goneCount} of ${intent.describe()}: they were being sent when the last run ended, did not arrive, and their bytes are not there any more`,
        { topic: intent.topic, partition: intent.partition },
      );
    }
    if (intent.isWhole || restCount <= 0) return;
    metrics.loseRecovered("stdin_gone", restCount);
    log.error(
      `Lost ${
        countOf(restCount, "event")
      } of stdin: they were being sent to topic "${intent.topic}" when the last run ended, and cannot be read again`,
    );
  }

  /** The policy for batches of which nobody can say whether they were written. */
  async #decide(
    queue: PartitionSender,
    intent: RecoveredIntent,
    out: Rebuilding,
    { reason, topicId }: { readonly reason: string; readonly topicId?: string },
  ): Promise<void> {
    const { config, log, metrics, onFatal } = this.#options;
    metrics.resolved.add("undecidable");
    const what =
      `Cannot tell whether ${intent.describe()} arrived in partition ${intent.partition} of topic "${intent.topic}": ${reason}`;
    switch (config.onUndecidable) {
      case "duplicate":
        log.warn(`${what}; sent again, as on_undecidable = "duplicate" asks, and perhaps there twice`);
        return await this.#sendAgain(queue, intent, out, "undecidable", topicId);
      case "drop":
        log.error(`${what}; not sent again, as on_undecidable = "drop" asks, and perhaps lost`);
        return this.#giveUp(queue, intent, out, "undecidable");
      case "stop":
        return onFatal(`${what}; on_undecidable = "stop" ends the run, and the next one asks again`);
    }
  }

  #giveUp(queue: PartitionSender, intent: RecoveredIntent, out: Rebuilding, reason: string): void {
    const { exactlyOnce, log, metrics } = this.#options;
    metrics.loseRecovered(reason, intent.count, intent.heldLines());
    if (reason === "source_gone") {
      log.error(
        `Lost ${intent.describe()}: they were being sent when the last run ended, did not arrive, and their bytes are not there any more`,
        { topic: intent.topic, partition: intent.partition },
      );
    }
    // In one frame with what else is replaced: what follows it must not be left with a hole in front of it.
    out.replacements.push(() => {
      const lines = intent.heldLines();
      exactlyOnce.replaceIds(queue, [intent.id], [{ kind: "lost", reason, lines }], reason);
      for (const { region, count } of lines) region.settle(count);
    });
  }

  #tellLost(queue: PartitionSender, intents: readonly RecoveredIntent[]): void {
    const { metrics, log } = this.#options;
    metrics.brokerLostAckedCount++;
    log.error(
      `The cluster has lost records of partition ${queue.id} of topic "${queue.topic}" that it had acknowledged`,
      { before: intents[0]!.describe() },
    );
  }

  #tellBehind(queue: PartitionSender, intents: readonly RecoveredIntent[]): void {
    const { metrics, log } = this.#options;
    metrics.journalBehindBrokerCount++;
    log.error(
      `data_dir is older than what partition ${queue.id} of topic "${queue.topic}" holds: it is a copy, or lost its last writes in a power cut; lines may arrive twice`,
      { from: intents[0]!.describe() },
    );
  }
}

const partitionKey = (topic: string, partition: number) => `${partition}\u0000${topic}`;
