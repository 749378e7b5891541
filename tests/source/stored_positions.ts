import type { PositionLog } from "../../src/checkpoint/position_store.ts";
import { PositionStore } from "../../src/checkpoint/position_store.ts";
import { ByteDecoder } from "../../src/storage/byte_codec.ts";

interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** The frames of a position store as a journal would keep them: every store that is opened finds what the ones before it have stored. */
export class StoredPositions {
  #frames: Frame[] = [];
  #log: MemoryLog | null = null;

  open(now: () => number = Date.now): PositionStore {
    const store = new PositionStore({ now });
    for (const { type, payload } of this.#frames) store.apply(type, new ByteDecoder(payload));
    store.finishRestore();
    this.#log = new MemoryLog(this.#frames);
    store.attach(this.#log);
    return store;
  }

  /** From now on the store that was opened last stores nothing. */
  cutOff(): void {
    this.#log!.isCutOff = true;
  }
}

class MemoryLog implements PositionLog {
  isCutOff = false;
  readonly #frames: Frame[];

  constructor(frames: Frame[]) {
    this.#frames = frames;
  }

  append(type: number, payload: Buffer): void {
    if (!this.isCutOff) this.#frames.push({ type, payload: Buffer.from(payload) });
  }

  commit(): Promise<void> {
    return Promise.resolve();
  }
}
