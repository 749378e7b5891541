/**
 * What became of a stream's lines on the way to one sink since it was first read, over all runs. `coveredCount` is counted line by line in
 * the regions, the others by batches: covered = delivered + live intents + dropped + lost.
 */
export class Totals {
  /** Lines that a restart does not read again. */
  coveredCount = 0;
  deliveredCount = 0;
  /** Lines given up for good, by reason. */
  readonly dropped = new Map<string, number>();
  /** Lines that were in an intent and whose bytes are nowhere any more, by cause. */
  readonly lost = new Map<string, number>();
  /** Bytes that were gone before they could be read, by cause ("truncated_unread", "unreadable"). */
  readonly lostBytes = new Map<string, number>();

  drop(reason: string, count: number): void {
    add(this.dropped, reason, count);
  }

  lose(cause: string, count: number): void {
    add(this.lost, cause, count);
  }

  loseBytes(cause: string, bytes: number): void {
    add(this.lostBytes, cause, bytes);
  }
}

function add(counts: Map<string, number>, label: string, count: number): void {
  counts.set(label, (counts.get(label) ?? 0) + count);
}

/** The sum of a map's counts. */
export function sumOf(counts: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const count of counts.values()) sum += count;
  return sum;
}
