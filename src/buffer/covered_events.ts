import type { Ledger } from "../checkpoint/ledger.ts";

/** Events behind the position that a restart does not read: they are in batches whose fate is open, or given up. */
export function coveredEvents(ledger: Ledger): number {
  let count = 0;
  for (const entry of ledger.entries()) {
    count += entry.isSpan ? entry.endOffset - entry.startOffset : entry.coveredCount;
  }
  return count;
}
