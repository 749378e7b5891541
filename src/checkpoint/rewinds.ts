import type { ByteDecoder, ByteEncoder } from "../storage/byte_codec.ts";

/** Beyond these the two oldest are joined: some lines that are in a disk buffer may then be read again after a crash. */
const REWINDS_MAX = 64;

interface Rewind {
  /** Events of the sink's disk buffer in front of this number ... */
  event: number;
  /** ... tell nothing of bytes behind this offset: others have taken their place since. */
  offset: number;
}

/** Where a stream was cut, seen from the events of a disk buffer that came from it. */
export class Rewinds {
  #all: Rewind[] = [];

  get isEmpty(): boolean {
    return this.#all.length === 0;
  }

  /** `event`: number of the next event. Nobody asks any more for what is in front of `storedEvent`, but for what was dropped just in front of it. */
  add(event: number, offset: number, storedEvent: number): void {
    this.#all = this.#all.filter((each) => each.event >= storedEvent);
    this.#all.push({ event, offset });
    if (this.#all.length <= REWINDS_MAX) return;
    const [first, second] = this.#all.splice(0, 2) as [Rewind, Rewind];
    this.#all.unshift({ event: second.event, offset: Math.min(first.offset, second.offset) });
  }

  /** Whether what this event says of the bytes up to `endOffset` was overtaken by a cut. */
  isStale(event: number, endOffset: number): boolean {
    return this.#all.some((each) => event < each.event && endOffset > each.offset);
  }

  /** Events get numbers from `event` on. True when something changed. */
  clamp(event: number): boolean {
    let hasChanged = false;
    for (const each of this.#all) {
      if (each.event <= event) continue;
      each.event = event;
      hasChanged = true;
    }
    return hasChanged;
  }

  write(out: ByteEncoder): void {
    for (const { event, offset } of this.#all) out.varint(event).varint(offset);
  }

  /** Reads all that is left. */
  read(input: ByteDecoder): void {
    while (!input.isAtEnd) this.#all.push({ event: input.varint(), offset: input.varint() });
  }
}
