import zlib from "node:zlib";
import type { Ledger } from "../../src/checkpoint/ledger.ts";
import type { Region } from "../../src/checkpoint/region.ts";
import type { Chunk, Outlet, Piece } from "../../src/event/chunk.ts";
import { OTHER_BYTES } from "../../src/event/chunk.ts";
import type { Stream } from "../../src/event/stream.ts";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";

const NEWLINE = 10;

/** One line as it was taken. */
export interface TakenLine {
  readonly text: string;
  readonly stream: string;
  readonly path: string;
  readonly offset: number;
  /** Behind its newline. */
  readonly endOffset: number;
}

/** These lines are delivered: a restart does not read them again. */
export function settleLines(region: Region, lines: readonly number[]): void {
  for (const line of lines) region.cover(line, 1);
  region.settle(lines.length);
}

/**
 * An outlet that splits at newlines, checks the contract of `Outlet` as it goes, and settles at once as delivered (or when told to).
 * `room` is the number of lines that still fit.
 */
export class FakeOutlet implements Outlet {
  readonly sink: string;
  readonly lines: TakenLine[] = [];
  readonly ended: string[] = [];
  /** Chunks that were offered, taken or not. */
  offerCount = 0;
  offeredBytesMax = 0;
  room: number;
  isSettling = true;
  /** A stream that has ended may come again, from an earlier offset. */
  allowsCutBack = false;
  /** In place of covering and settling all lines that were taken of a region. */
  onRegion: ((region: Region, lines: readonly number[]) => void) | null = null;
  onLine: (() => void) | null = null;
  readonly #checkpoint: Checkpoint | null;
  readonly #maxLineBytes: number;
  readonly #nextOffsets = new Map<string, number>();
  #roomWaiters: (() => void)[] = [];
  #lineWaiters: (() => void)[] = [];

  constructor(sink: string, checkpoint: Checkpoint | null, room = Infinity, maxLineBytes = 262_144) {
    this.sink = sink;
    this.#checkpoint = checkpoint;
    this.room = room;
    this.#maxLineBytes = maxLineBytes;
  }

  hasRoom(): boolean {
    return this.room > 0;
  }

  waitForRoom(signal: AbortSignal): Promise<void> {
    if (this.hasRoom() || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#roomWaiters.push(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  addRoom(lines: number): void {
    this.room += lines;
    for (const wake of this.#roomWaiters.splice(0)) wake();
  }

  pieceAt(stream: Stream, offset: number): Piece | null {
    const piece = this.#ledger(stream, offset)?.pieceAt(offset) ?? null;
    if (piece?.kind !== "region") return piece;
    return { kind: "region", endOffset: piece.region.endOffset };
  }

  offer(chunk: Chunk): number {
    this.offerCount++;
    this.offeredBytesMax = Math.max(this.offeredBytesMax, chunk.data.length);
    this.#check(chunk);
    const ledger = this.#ledger(chunk.stream, chunk.offset);
    const piece = ledger?.pieceAt(chunk.offset) ?? null;
    if (piece?.kind === "skip") throw new Error(`Bytes at ${chunk.offset} are offered again`);
    const taken = piece?.kind === "region"
      ? this.#takeAgain(chunk, ledger!, piece.region)
      : this.#take(chunk, ledger);
    for (const wake of this.#lineWaiters.splice(0)) wake();
    if (taken === OTHER_BYTES) return taken;
    if (piece !== null && chunk.offset + taken > this.#endOf(piece)) {
      throw new Error(`A chunk at ${chunk.offset} goes beyond the piece that ends at ${this.#endOf(piece)}`);
    }
    if (ledger !== null && taken > 0) ledger.cursor = chunk.offset + taken;
    this.#nextOffsets.set(chunk.stream.id, chunk.offset + taken);
    return taken;
  }

  #endOf(piece: { endOffset: number } | { region: Region }): number {
    return "region" in piece ? piece.region.endOffset : piece.endOffset;
  }

  #check({ stream, offset, data }: Chunk): void {
    if (data.length === 0) throw new Error("Empty chunk");
    if (this.ended.includes(stream.id)) {
      if (!this.allowsCutBack) throw new Error(`Chunk after the end of "${stream.id}"`);
      this.ended.splice(this.ended.indexOf(stream.id), 1);
      this.#nextOffsets.delete(stream.id);
    }
    const next = this.#nextOffsets.get(stream.id);
    if (next === undefined || next === offset) return;
    const piece = this.pieceAt(stream, next);
    if (piece?.kind === "skip" && piece.endOffset === offset) return;
    throw new Error(`Chunk of "${stream.id}" starts at ${offset}, expected ${next}`);
  }

  /** New lines, one region for all of them. */
  #take({ stream, data, offset, isFinal }: Chunk, ledger: Ledger | null): number {
    let from = 0;
    let lineCount = 0;
    while (from < data.length && this.room > 0) {
      const next = this.#nextLine(data, from, isFinal);
      if (next === from) break;
      this.#keep(stream, offset, data, from, next);
      lineCount++;
      from = next;
    }
    if (from === 0 || ledger === null) return from;
    const region = ledger.track({
      startOffset: offset,
      endOffset: offset + from,
      crc32: zlib.crc32(data.subarray(0, from)),
      lineCount,
      startsInsideCutLine: false,
      endsInsideCutLine: false,
    });
    this.#settle(ledger, region, [...Array(lineCount).keys()]);
    return from;
  }

  /** The lines of a region that are missing. */
  #takeAgain({ stream, data, offset, isFinal }: Chunk, ledger: Ledger, region: Region): number {
    if (!isFinal || data.length !== region.endOffset - offset) {
      throw new Error(`A region is offered otherwise than whole: ${data.length} bytes at ${offset}`);
    }
    if (zlib.crc32(data) !== region.crc32) return OTHER_BYTES;
    const missing: number[] = [];
    let from = 0;
    for (let line = 0; line < region.lineCount; line++) {
      const next = this.#nextLine(data, from, true);
      if (!region.isLineCovered(line)) {
        missing.push(line);
        this.#keep(stream, offset, data, from, next);
      }
      from = next;
    }
    this.#settle(ledger, region, missing);
    return data.length;
  }

  /** Where the line at `from` ends, or `from` when it is incomplete. */
  #nextLine(data: Buffer, from: number, isFinal: boolean): number {
    const newline = data.indexOf(NEWLINE, from);
    if (newline !== -1) return newline + 1;
    return isFinal || data.length - from > this.#maxLineBytes ? data.length : from;
  }

  #keep(stream: Stream, offset: number, data: Buffer, from: number, next: number): void {
    const end = data[next - 1] === NEWLINE ? next - 1 : next;
    const text = data.toString("utf8", from, end);
    this.lines.push({
      text,
      stream: stream.id,
      path: stream.path,
      offset: offset + from,
      endOffset: offset + next,
    });
    this.room--;
    this.onLine?.();
  }

  #settle(ledger: Ledger, region: Region, lines: readonly number[]): void {
    if (this.onRegion !== null) this.onRegion(region, lines);
    else if (this.isSettling) settleLines(region, lines);
    ledger.changed();
  }

  #ledger(stream: Stream, offset: number): Ledger | null {
    return this.#checkpoint?.ledger(stream, this.sink, offset) ?? null;
  }

  endStream(stream: Stream): void {
    if (this.ended.includes(stream.id)) throw new Error(`"${stream.id}" has ended twice`);
    this.ended.push(stream.id);
    for (const wake of this.#lineWaiters.splice(0)) wake();
  }

  get texts(): string[] {
    return this.lines.map((line) => line.text);
  }

  /** Resolves when `isDone`; rejects after `timeoutMs` with what is there. */
  async until(isDone: () => boolean, timeoutMs = 10_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!isDone()) {
      if (performance.now() > deadline) {
        throw new Error(
          `Timed out with ${this.lines.length} lines, the last: ${JSON.stringify(this.texts.slice(-5))}`,
        );
      }
      await Promise.race([new Promise<void>((resolve) => this.#lineWaiters.push(resolve)), Bun.sleep(20)]);
    }
  }

  async untilCount(count: number, timeoutMs?: number): Promise<void> {
    await this.until(() => this.lines.length >= count, timeoutMs);
  }
}
