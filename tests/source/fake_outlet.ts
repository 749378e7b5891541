import type { Chunk, Outlet } from "../../src/event/chunk.ts";
import type { Stream } from "../../src/event/stream.ts";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";

const NEWLINE = 10;

/** One line as it was taken. */
export interface TakenLine {
  readonly text: string;
  readonly stream: string;
  readonly path: string;
  readonly offset: number;
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

  offer(chunk: Chunk): number {
    this.offerCount++;
    this.offeredBytesMax = Math.max(this.offeredBytesMax, chunk.data.length);
    const { stream, data } = chunk;
    const expected = this.#nextOffsets.get(stream.id);
    if (expected !== undefined && expected !== chunk.offset) {
      throw new Error(`Chunk of "${stream.id}" starts at ${chunk.offset}, expected ${expected}`);
    }
    if (data.length === 0) throw new Error("Empty chunk");
    if (this.ended.includes(stream.id)) throw new Error(`Chunk after the end of "${stream.id}"`);
    this.#nextOffsets.set(stream.id, chunk.offset);
    let from = 0;
    while (from < data.length && this.room > 0) {
      const newline = data.indexOf(NEWLINE, from);
      let next = newline + 1;
      if (newline === -1) {
        if (!chunk.isFinal && data.length - from <= this.#maxLineBytes) break;
        next = data.length;
      }
      const text = data.toString("utf8", from, newline === -1 ? data.length : newline);
      this.lines.push({ text, stream: stream.id, path: stream.path, offset: chunk.offset + from });
      this.room--;
      this.#track(stream, chunk.offset + from, chunk.offset + next);
      from = next;
      this.onLine?.();
    }
    this.#nextOffsets.set(stream.id, chunk.offset + from);
    for (const wake of this.#lineWaiters.splice(0)) wake();
    return from;
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

  #track(stream: Stream, start: number, end: number): void {
    if (this.#checkpoint === null) return;
    const tracker = this.#checkpoint.tracker(stream, this.sink, start);
    const ticket = tracker.track(start, end);
    if (this.isSettling) tracker.settle(ticket, "delivered");
  }
}
