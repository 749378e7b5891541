import type { FetchedPartition } from "../protocol/fetch.ts";
import { fetchedBatches, readRecords } from "./record_codec.ts";

/**
 * Gives the records of a Fetch answer under read_committed that count, from `fromOffset` on, and returns the offset to go on from. The broker
 * gives nothing from the first open transaction on, but what was aborted it only names: by producer, from an offset to the producer's next
 * marker (KIP-98). Throws ProtocolError when the answer cannot be read.
 */
export function takeCommitted(
  fetched: Pick<FetchedPartition, "records" | "aborted">,
  fromOffset: number,
  take: (key: Buffer | null, value: Buffer | null, offset: number) => void,
): number {
  const waiting = [...fetched.aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  const aborted = new Set<string>();
  let nextOffset = fromOffset;
  for (const batch of fetchedBatches(fetched.records)) {
    while (waiting.length > 0 && waiting[0]!.firstOffset < batch.endOffset) {
      aborted.add(waiting.shift()!.producerId.toString("hex"));
    }
    nextOffset = Math.max(nextOffset, batch.endOffset);
    const producer = batch.producerId.toString("hex");
    if (batch.isControl) {
      // Of an aborted transaction or not: what follows is another one.
      aborted.delete(producer);
      continue;
    }
    if (batch.isTransactional && aborted.has(producer)) continue;
    readRecords(batch, (offset, key, value) => {
      if (offset >= fromOffset) take(key, value, offset);
    });
  }
  return nextOffset;
}
