import { BUFFER_SOURCE } from "../event/stream.ts";
import type { Tally } from "../event/tally.ts";
import { type ByteDecoder, ByteEncoder } from "../storage/byte_codec.ts";
import type { Ledger } from "./ledger.ts";
import { PositionFrame } from "./position_frames.ts";
import type { RegionInfo } from "./region.ts";
import type { StreamIndex } from "./stream_index.ts";

/** A disk buffer, as far as positions follow from it. */
export interface BufferProgress {
  /** All events in front of it are in the positions of their streams. */
  readonly securedEvent: () => number;
  /** Number of the next event that is put in. */
  readonly nextEvent: () => number;
  /** Its own position has moved: everything in front of it is delivered or given up. */
  readonly moved: () => void;
}

/**
 * The positions of streams that follow from what is in the disk buffers of sinks: a line that is in one is covered for its stream, and the buffer answers
 * for it. What the journal has not stored by a crash is told again by the events themselves, from the stored number on.
 */
export class BufferedPositions {
  readonly #index: StreamIndex;
  /** By the stream of the buffer: what was stored, and who tells now. */
  readonly #stored = new Map<number, number>();
  readonly #open = new Map<number, { readonly sink: string; readonly progress: BufferProgress }>();
  readonly #out = new ByteEncoder();

  constructor(index: StreamIndex) {
    this.#index = index;
  }

  /** The disk buffer of a sink is open: from now on its progress is stored with the positions. */
  open(ledger: Ledger, sink: string, progress: BufferProgress): void {
    this.#open.set(ledger.streamNumber, { sink, progress });
  }

  /** The disk buffer with this account was closed, and may be opened again: what it has secured by now is stored with the positions. */
  close(ledger: Ledger): void {
    const open = this.#open.get(ledger.streamNumber);
    if (open === undefined) return;
    this.#open.delete(ledger.streamNumber);
    this.#stored.set(ledger.streamNumber, open.progress.securedEvent());
  }

  /** The position of a stream has moved. */
  moved(streamNumber: number): void {
    this.#open.get(streamNumber)?.progress.moved();
  }

  /** Events of this buffer from here on have to be looked at after a crash. */
  storedEvent(ledger: Ledger): number {
    return this.#stored.get(ledger.streamNumber) ?? 0;
  }

  /** A stream was cut at `offset`: what the sink's open buffer has of it so far tells nothing of bytes behind. */
  rewound(ledger: Ledger, sink: string, offset: number): void {
    for (const [streamNumber, each] of this.#open) {
      if (each.sink !== sink) continue;
      ledger.rewinds.add(each.progress.nextEvent(), offset, this.#stored.get(streamNumber) ?? 0);
    }
  }

  /** The account of a stream on the way to a sink; null when it is not known. */
  tallyOf(source: string, streamId: string, sink: string): Tally | null {
    return this.#index.get(source, streamId)?.ledgers.get(sink)?.tally ?? null;
  }

  /** Buffers that the journal knows of a sink. */
  buffersOf(sink: string): { readonly id: string; readonly ledger: Ledger }[] {
    const found: { id: string; ledger: Ledger }[] = [];
    for (const { record, ledgers } of this.#index.entries()) {
      const ledger = ledgers.get(sink);
      if (record.source === BUFFER_SOURCE && ledger !== undefined) found.push({ id: record.id, ledger });
    }
    return found;
  }

  /**
   * Before anything is read: event `firstEvent` of the sink's buffer and those that follow it hold lines of a stream. "known": the stream's position
   * is behind them now. "unknown": the journal knows no such stream. "other": what it knows does not fit.
   */
  cover(
    stream: { readonly source: string; readonly id: string },
    sink: string,
    firstEvent: number,
    info: RegionInfo,
    runs: readonly number[],
  ): "known" | "unknown" | "other" {
    const ledger = this.#ledgerOf(stream, sink);
    if (ledger === null) return "unknown";
    if (ledger.rewinds.isStale(firstEvent, info.endOffset)) return "known";
    if (!ledger.coverBuffered(info, runs)) return "other";
    ledger.changed();
    return "known";
  }

  /** The same for pieces that were dropped. */
  skip(
    stream: { readonly source: string; readonly id: string },
    sink: string,
    nextEvent: number,
    startOffset: number,
    endOffset: number,
  ): void {
    const ledger = this.#ledgerOf(stream, sink);
    // The same number comes in front of a cut and behind it: who drops behind one has the journal tell it.
    if (ledger === null || ledger.rewinds.isStale(nextEvent - 1, endOffset)) return;
    ledger.skipBuffered(startOffset, endOffset);
    ledger.changed();
  }

  /**
   * The events that are put in now have numbers from `firstEvent` on. Numbers may go back, over events that did not survive or to a new buffer: what was
   * cut before must not take these for its own.
   */
  begin(sink: string, firstEvent: number): void {
    for (const { ledgers } of this.#index.entries()) {
      const ledger = ledgers.get(sink);
      if (ledger?.rewinds.clamp(firstEvent) === true) ledger.changed();
    }
  }

  /** Frames that tell the progress, to be written behind the positions of streams. */
  write(add: (type: number, payload: Buffer) => void): void {
    for (const [streamNumber, { progress }] of this.#open) {
      if (this.#index.byNumber(streamNumber) === undefined) continue;
      this.#stored.set(streamNumber, progress.securedEvent());
    }
    for (const [streamNumber, event] of this.#stored) {
      if (this.#index.byNumber(streamNumber) === undefined) this.#stored.delete(streamNumber);
      else add(PositionFrame.BUFFERED, this.#out.reset().varint(streamNumber).varint(event).bytes());
    }
  }

  /** Applies a frame that was read; false when it is none of its own. Throws `CodecError`. */
  apply(type: number, input: ByteDecoder): boolean {
    if (type !== PositionFrame.BUFFERED) return false;
    const streamNumber = input.varint();
    this.#stored.set(streamNumber, input.varint());
    return true;
  }

  reset(): void {
    this.#stored.clear();
  }

  #ledgerOf({ source, id }: { source: string; id: string }, sink: string): Ledger | null {
    const entry = this.#index.get(source, id);
    if (entry === undefined) return null;
    return entry.ledgers.get(sink) ?? this.#index.newLedger(entry, sink, entry.stream(), 0);
  }
}
