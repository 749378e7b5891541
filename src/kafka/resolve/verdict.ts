import { type ProducerNumbers, sequenceAfter } from "../batch_header.ts";

/**
 * A batch whose fate is not known. Lists hold the oldest first, all of one producer id and epoch with sequences that follow each
 * other; each was sent only after the one before it was acknowledged (one in flight a partition), so what is found of one proves all
 * before it.
 */
export interface DoubtfulBatch {
  readonly producer: ProducerNumbers;
  /** Records, and so sequences. */
  readonly count: number;
  /** As written in the batch's header. */
  readonly baseTimestampMs: number;
  /** A log end that was seen before the first attempt: the batch can only be at it or behind it. -1: unknown. */
  readonly hintOffset: number;
  /** When the batch got its numbers; null: not known (before the first metadata, brokers before Kafka 2.8). */
  readonly clusterId: string | null;
  readonly topicId: string | null;
  /** When its first attempt may have been made, by the wall clock. */
  readonly sentMs: number;
}

/** What the leader remembers of a producer in a partition. */
export interface ListedProducer {
  readonly epoch: number;
  /** Of the last record that it has; -1 when it remembers the producer but no batch. */
  readonly lastSequence: number;
  readonly lastTimestampMs: number;
}

/** Answer to the question for our producer id (DescribeProducers, KIP-664). */
export type Listing =
  | ({ readonly kind: "listed" } & ListedProducer)
  | { readonly kind: "absent" }
  /** No READ right on the topic. */
  | { readonly kind: "denied" }
  /** A broker before Kafka 2.8, or of another make. */
  | { readonly kind: "unsupported" };

/** What the partition's leader says, all of it at one leader epoch, in the order of the fields. */
export interface Evidence {
  readonly clusterId: string | null;
  readonly topicId: string | null;
  /** -1: the broker does not tell (before Kafka 2.1). */
  readonly leaderEpoch: number;
  readonly listing: Listing;
  /** End of the leader's log, read after the listing; null: the broker does not tell. */
  readonly logEndOffset: number | null;
  /** End of what is replicated, read after the log end. */
  readonly highWatermark: number;
  readonly logStartOffset: number;
}

/** What the headers of a stretch of the log say about the batches. */
export interface ScanFinding {
  /** Offset behind each batch that was found, at its index; -1: not found. Found means replicated: nothing else can be fetched. */
  readonly endOffsets: readonly number[];
  /** The stretch begins where the batches could be at the earliest, ends at the log end, and nothing was removed out of it. */
  readonly isComplete: boolean;
  /** A batch of our producer id and epoch with our sequences in it that is not ours: someone else writes under our numbers. */
  readonly isNumberTaken: boolean;
  /** Why it is not complete, in words; "" when it is. */
  readonly gap: string;
}

/** A scan, or "denied" without READ right. */
export type Scan = ScanFinding | "denied";

export type ReplaceReason =
  | "other-cluster"
  | "other-topic"
  | "broker-lost-acked"
  | "numbers-taken"
  | "topic-missing";

/** What became of a list of batches. */
export type Verdict =
  /**
   * The first `writtenCount` (at least 1) are in the leader's log. They are replicated when `isReplicated`, else once the high watermark
   * reaches `provenOffset` (`waitReplicated`), or when sending the last of them again is acknowledged.
   */
  | {
    readonly kind: "written";
    readonly writtenCount: number;
    readonly by: "listed" | "scanned";
    readonly isReplicated: boolean;
    /** End of the leader's log after they were found in it; -1: the broker does not tell, only sending again proves replication. */
    readonly provenOffset: number;
    /** Leader epoch of `provenOffset`. */
    readonly leaderEpoch: number;
    /** Of the topic that they are in, where it is not the one that they got their numbers for. */
    readonly topicId?: string;
    /** The batches after them are not in the log: send them with the same numbers. false: ask again for those alone. */
    readonly isRestUnwritten: boolean;
  }
  /** None is in the log; sending them with the same numbers, oldest first, is safe. `logEndOffset` is the next hint; -1: unknown. */
  | { readonly kind: "unwritten"; readonly by: "listed" | "scanned"; readonly logEndOffset: number }
  /** Not to be told apart from here, but the broker's own de-duplication can: send the same numbers, oldest first. `topicId`: as in "written". */
  | { readonly kind: "resend"; readonly reason: string; readonly topicId?: string }
  /** None is in the log, and none can be taken under these numbers: they need new ones. */
  | {
    readonly kind: "replace";
    readonly reason: ReplaceReason;
    /** The broker no longer has records that it had acknowledged. */
    readonly isDataLossAtBroker: boolean;
    readonly listed: ListedProducer | null;
  }
  /**
   * The broker has newer batches of this producer id than the newest of the list. At start: the journal is older than the broker (a
   * restored copy, a power cut without syncs). In a process that still uses the id: another one uses it too (a VM snapshot that was
   * resumed); stop, acknowledge nothing. Nothing more can be sent under this id and epoch.
   */
  | {
    readonly kind: "journal-behind";
    readonly reason: "sequence-ahead" | "epoch-ahead";
    readonly listed: ListedProducer;
    /** The first so many are in the log (0: none found). */
    readonly writtenCount: number;
    readonly by: "listed" | "scanned";
    /** The others are not: they need new numbers. false: with others left, they are undecidable. */
    readonly isRestUnwritten: boolean;
  }
  /** `reason` completes "Cannot tell whether batches were written: ". `topicId`: as in "written". */
  | { readonly kind: "undecidable"; readonly reason: string; readonly topicId?: string };

/** What the clock says about whether brokers must still remember what they were sent. */
export interface Recency {
  readonly nowMs: number;
  /** How long brokers remember a producer (`dedup_window_secs`). */
  readonly dedupWindowMs: number;
  readonly hasClockJumped: boolean;
}

const SEQUENCES = 0x8000_0000;
/** A clock that is set by so little says nothing of a window of half a minute at least. */
const CLOCK_STEP_MAX_MS = 10_000;

/**
 * Judges a list of batches. `scan` is null at first: "scan-needed" asks for a look into the log (the same evidence is judged again with it).
 */
export function judge(
  batches: readonly DoubtfulBatch[],
  evidence: Evidence,
  scan: Scan | null,
  recency: Recency,
): Verdict | "scan-needed" {
  const replaced = judgeIdentity(batches, evidence.clusterId, evidence.topicId);
  if (replaced !== null) {
    return replaced.reason === "other-topic"
      ? judgeOtherTopic(batches, evidence, replaced, recency)
      : replaced;
  }
  const { listing } = evidence;
  if (listing.kind === "listed" && !isForgotten(batches, listing)) {
    const position = positionOf(batches, listing);
    if (position !== "epoch-ahead" && position !== "sequence-ahead") {
      return judgeListed(evidence, listing, position);
    }
    return scan === null ? "scan-needed" : judgeAhead(batches, listing, position, scan);
  }
  if (listing.kind === "denied") return judgeUnlisted(batches, evidence, "denied", recency);
  return scan === null ? "scan-needed" : judgeUnlisted(batches, evidence, scan, recency);
}

type Replace = Extract<Verdict, { kind: "replace" }>;

/** Numbers of another cluster mean nothing here, those of another topic little (K7, K13). An id that is not known on one side proves nothing. */
export function judgeIdentity(
  batches: readonly DoubtfulBatch[],
  clusterId: string | null,
  topicId: string | null,
): Replace | null {
  const differs = (then: string | null, now: string | null) => then !== null && now !== null && then !== now;
  const replace = (reason: ReplaceReason): Replace => ({
    kind: "replace",
    reason,
    isDataLossAtBroker: false,
    listed: null,
  });
  if (batches.some((batch) => differs(batch.clusterId, clusterId))) return replace("other-cluster");
  if (batches.some((batch) => differs(batch.topicId, topicId))) return replace("other-topic");
  return null;
}

/**
 * A batch that was sent before anybody here had heard that the topic was made again is in the new one, under the numbers that it got for the old
 * one: a partition where the producer is not known takes any. The leader knows the producer then.
 */
function judgeOtherTopic(
  batches: readonly DoubtfulBatch[],
  evidence: Evidence,
  replaced: Replace,
  recency: Recency,
): Verdict {
  const { listing, topicId } = evidence;
  // Who may not be told can still have the new topic's brokers recognise a repeat.
  if (listing.kind === "denied" && topicId !== null) {
    return { ...judgeDenied(batches, recency), topicId };
  }
  if (listing.kind !== "listed") return replaced;
  const position = positionOf(batches, listing);
  if (typeof position !== "number" || position === 0) return replaced;
  const verdict = judgeListed(evidence, listing, position);
  return verdict.kind === "written" && topicId !== null ? { ...verdict, topicId } : verdict;
}

/** Throws RangeError when the list is not as DoubtfulBatch describes it: a mistake of the caller. */
export function checkBatches(batches: readonly DoubtfulBatch[]): void {
  if (batches.length === 0) throw new RangeError("Cannot resolve an empty list of batches");
  const { producer } = batches[0]!;
  let expected = producer.baseSequence;
  for (const batch of batches) {
    const { producerIdHigh, producerIdLow, epoch, baseSequence } = batch.producer;
    const isSame = producerIdHigh === producer.producerIdHigh && producerIdLow === producer.producerIdLow &&
      epoch === producer.epoch;
    if (!isSame || baseSequence !== expected || batch.count < 1) {
      throw new RangeError("Cannot resolve batches whose numbers do not follow each other");
    }
    expected = sequenceAfter(baseSequence, batch.count);
  }
}

/** The producer is remembered with no batch at all (only after markers of transactions), which says as little as no entry. */
function isForgotten(batches: readonly DoubtfulBatch[], listed: ListedProducer): boolean {
  const { epoch, baseSequence } = batches[0]!.producer;
  return listed.epoch === epoch && listed.lastSequence < 0 && baseSequence !== 0;
}

/** Where the leader's last sequence is: behind so many batches, or somewhere that no run of this producer alone leads to. */
type Position = number | "inside" | "sequence-ahead" | "sequence-behind" | "epoch-ahead" | "epoch-behind";

/** Sequences are compared modulo 2^31 (K26): less than half a turn in front is ahead, the rest is behind. */
function positionOf(batches: readonly DoubtfulBatch[], listed: ListedProducer): Position {
  const { epoch, baseSequence } = batches[0]!.producer;
  if (listed.epoch > epoch) return "epoch-ahead";
  // A higher epoch begins at sequence 0 (K9): with that first batch in the list, nothing is missing before it.
  if (listed.epoch < epoch) return baseSequence === 0 ? 0 : "epoch-behind";
  // -1 (no batch) comes out as "just before 0".
  const advance = (listed.lastSequence + 1 - baseSequence + SEQUENCES) % SEQUENCES;
  if (advance >= SEQUENCES / 2) return "sequence-behind";
  let total = 0;
  for (let i = 0; i < batches.length; i++) {
    if (advance === total) return i;
    total += batches[i]!.count;
    if (advance < total) return "inside";
  }
  return advance === total ? batches.length : "sequence-ahead";
}

/** R2: the producer is listed, and not ahead of the list. */
function judgeListed(
  evidence: Evidence,
  listed: ListedProducer,
  position: number | "inside" | "sequence-behind" | "epoch-behind",
): Verdict {
  const { logEndOffset, highWatermark, leaderEpoch } = evidence;
  switch (position) {
    case 0:
      return { kind: "unwritten", by: "listed", logEndOffset: logEndOffset ?? -1 };
    case "inside":
      return {
        kind: "undecidable",
        reason: `the leader's last sequence of this producer is ${listed.lastSequence}, inside a batch`,
      };
    case "sequence-behind":
    case "epoch-behind":
      return {
        kind: "replace",
        reason: "broker-lost-acked",
        isDataLossAtBroker: true,
        listed: withoutKind(listed),
      };
    default:
      return {
        kind: "written",
        writtenCount: position,
        by: "listed",
        isReplicated: logEndOffset !== null && highWatermark >= logEndOffset,
        provenOffset: logEndOffset ?? -1,
        leaderEpoch,
        isRestUnwritten: true,
      };
  }
}

/** R2, last cases: the broker has newer batches of this producer. Those of the list may lie before them, or never have been sent. */
function judgeAhead(
  batches: readonly DoubtfulBatch[],
  listed: ListedProducer,
  reason: "sequence-ahead" | "epoch-ahead",
  scan: Scan,
): Verdict {
  const foundCount = scan === "denied" ? 0 : foundIn(scan);
  const isRestUnwritten = foundCount === batches.length ||
    (scan !== "denied" && (scan.isComplete || scan.isNumberTaken));
  const verdict = { kind: "journal-behind", reason, listed: withoutKind(listed) } as const;
  if (isRestUnwritten || reason === "epoch-ahead") {
    return { ...verdict, writtenCount: foundCount, by: "scanned", isRestUnwritten };
  }
  // The sequences of the list were passed, and nothing speaks against that it was by these batches.
  return { ...verdict, writtenCount: batches.length, by: "listed", isRestUnwritten: true };
}

/** R3: the leader does not remember the producer, or may not tell. */
function judgeUnlisted(
  batches: readonly DoubtfulBatch[],
  evidence: Evidence,
  scan: Scan,
  recency: Recency,
): Verdict {
  const { listing, leaderEpoch, logEndOffset } = evidence;
  if (scan === "denied") return judgeDenied(batches, recency);
  const writtenCount = foundIn(scan);
  if (writtenCount > 0) {
    return {
      kind: "written",
      writtenCount,
      by: "scanned",
      isReplicated: true,
      provenOffset: scan.endOffsets[writtenCount - 1]!,
      leaderEpoch,
      isRestUnwritten: writtenCount === batches.length || (scan.isComplete && !scan.isNumberTaken),
    };
  }
  // To send them again could be answered with success for the other batch's sake (K1).
  if (scan.isNumberTaken) {
    return { kind: "replace", reason: "numbers-taken", isDataLossAtBroker: false, listed: null };
  }
  if (scan.isComplete) return { kind: "unwritten", by: "scanned", logEndOffset: logEndOffset ?? -1 };
  // The leader may remember what it does not tell; when it says that it does not, its de-duplication is no help.
  if (listing.kind === "unsupported" && isRecentEnough(batches, recency)) {
    return { kind: "resend", reason: scan.gap };
  }
  return { kind: "undecidable", reason: scan.gap };
}

/** Nothing can be looked at. */
function judgeDenied(
  batches: readonly DoubtfulBatch[],
  recency: Recency,
): Extract<Verdict, { kind: "resend" | "undecidable" }> {
  const reason = "this user has no READ right on the topic";
  if (isRecentEnough(batches, recency)) return { kind: "resend", reason };
  const age = recency.hasClockJumped ? "the clock was changed" : "half of dedup_window_secs has passed";
  return { kind: "undecidable", reason: `${reason}, and ${age}` };
}

/** By the newest that was found: it was sent after all before it were acknowledged. */
function foundIn(scan: ScanFinding): number {
  return scan.endOffsets.findLastIndex((offset) => offset >= 0) + 1;
}

function isRecentEnough(batches: readonly DoubtfulBatch[], recency: Recency): boolean {
  const { nowMs, dedupWindowMs, hasClockJumped } = recency;
  if (hasClockJumped) return false;
  return batches.every(({ sentMs }) =>
    sentMs - nowMs <= CLOCK_STEP_MAX_MS && nowMs - sentMs < dedupWindowMs / 2
  );
}

function withoutKind({ epoch, lastSequence, lastTimestampMs }: ListedProducer): ListedProducer {
  return { epoch, lastSequence, lastTimestampMs };
}
