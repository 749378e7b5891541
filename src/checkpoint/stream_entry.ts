import { fileStream, type Stream } from "../event/stream.ts";
import type { Ledger } from "./ledger.ts";
import type { FileRecord } from "./position_file.ts";

/** A stream that is stored: which file it is, and where each sink is in it. */
export class StreamEntry {
  /** Names it in the journal's frames; never used again for another one. */
  readonly number: number;
  record: FileRecord;
  seenMs: number;
  readonly ledgers = new Map<string, Ledger>();
  /** Set when the file is gone: the entry goes when every one of these sinks has come this far. */
  finalOffsets: ReadonlyMap<string, number> | null = null;

  constructor(number: number, record: FileRecord, seenMs: number) {
    this.number = number;
    this.record = record;
    this.seenMs = seenMs;
  }

  /** For ledgers that are restored before their source has offered anything. */
  stream(): Stream {
    const { id, source, path } = this.record;
    return fileStream(id, source, path);
  }

  isDelivered(): boolean {
    if (this.finalOffsets === null) return false;
    for (const [sink, offset] of this.finalOffsets) {
      if ((this.ledgers.get(sink)?.position ?? -1) < offset) return false;
    }
    return true;
  }
}
