/**
 * What became of the events of one stream on the way to one sink, each figure counted where it happens, so that the sum proves something:
 *
 *     read = delivered + in flight + buffered + dropped + lost + left (dead letters are drops by another name, `dead_letters.ts`)
 *
 * It adds up whenever no stage is at work, that is, at every turn of the event loop.
 */
export class Tally {
  /** Taken from the source in this run, and what an earlier run was sending and is sent again. */
  readCount = 0;
  /** Of those, events of batches that an earlier run had journalled. */
  recoveredCount = 0;
  /** In the sink's buffer. */
  bufferedCount = 0;
  /** Out of the buffer, not settled. */
  inFlightCount = 0;
  deliveredCount = 0;
  /** Given up for good; each one has a reason in `dropped`, or a cause in `lost`. */
  rejectedCount = 0;
  /** Not delivered at the end of the run; read again by the next one. */
  leftCount = 0;
  /** Events given up, by reason. */
  readonly dropped = new Map<string, number>();
  /** Events whose fate was given up, by cause. */
  readonly lost = new Map<string, number>();

  drop(reason: string, count: number): void {
    addTo(this.dropped, reason, count);
  }

  lose(cause: string, count: number): void {
    addTo(this.lost, cause, count);
  }

  /** Events of a batch of an earlier run that was made again: they are in flight. */
  recover(count: number): void {
    this.readCount += count;
    this.recoveredCount += count;
    this.inFlightCount += count;
  }

  /**
   * Takes what is not delivered, and can never be by who has it, out of the account: it is read anew, and counted then. Gives its number.
   */
  giveBack(): number {
    const count = this.leftCount + this.openCount;
    this.readCount -= count;
    this.leftCount = 0;
    this.bufferedCount = 0;
    this.inFlightCount = 0;
    return count;
  }

  get droppedCount(): number {
    return sumOf(this.dropped);
  }

  get lostCount(): number {
    return sumOf(this.lost);
  }

  /** Events that nothing has become of yet. */
  get openCount(): number {
    return this.bufferedCount + this.inFlightCount;
  }

  /** 0 when the sum adds up; else how many events are missing (positive) or too many (negative). */
  get missingCount(): number {
    return this.readCount - this.deliveredCount - this.openCount - this.droppedCount - this.lostCount -
      this.leftCount;
  }

  /** 0 when everything that was given up has a reason. */
  get unexplainedCount(): number {
    return this.rejectedCount - this.droppedCount - this.lostCount;
  }

  /** Adds another one's figures to these. */
  add(other: Tally): void {
    this.readCount += other.readCount;
    this.recoveredCount += other.recoveredCount;
    this.bufferedCount += other.bufferedCount;
    this.inFlightCount += other.inFlightCount;
    this.deliveredCount += other.deliveredCount;
    this.rejectedCount += other.rejectedCount;
    this.leftCount += other.leftCount;
    for (const [reason, count] of other.dropped) this.drop(reason, count);
    for (const [cause, count] of other.lost) this.lose(cause, count);
  }
}

/** Reasons per tally beyond this are counted under "other". */
const LABELS_MAX = 200;

function addTo(counts: Map<string, number>, label: string, count: number): void {
  const key = counts.has(label) || counts.size < LABELS_MAX ? label : "other";
  counts.set(key, (counts.get(key) ?? 0) + count);
}

function sumOf(counts: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const count of counts.values()) sum += count;
  return sum;
}

/** The account of one stream on the way to one sink. */
export interface StreamAccount {
  readonly source: string;
  readonly sink: string;
  /** The path that its events carry; "" for stdin, null for all streams together that are forgotten (file gone, all delivered). */
  readonly path: string | null;
  /** Names the stream among those of its source; null as above. */
  readonly streamId: string | null;
  readonly tally: Tally;
}
