import { errnoName } from "../errors.ts";
import type { StorageOps } from "./storage_ops.ts";

/** What a device cannot give is left out by so much. */
export const UNREADABLE_BLOCK_BYTES = 4096;

/**
 * Storage operations whose reads go on where the device cannot give what is stored (EIO): zeros stand for such blocks, which are noted. For who looks
 * at what is left of a damaged file.
 */
export class TolerantReads {
  readonly ops: StorageOps;
  /** Places of blocks that could not be read, since `forget`. Not in order. */
  readonly #unreadable = new Set<number>();

  constructor(ops: StorageOps) {
    this.ops = {
      ...ops,
      read: (fd, target, offset, length, position) => {
        try {
          return ops.read(fd, target, offset, length, position);
        } catch (error) {
          if (errnoName(error) !== "EIO") throw error;
          return this.#readBlocks(ops, fd, target, offset, length, position);
        }
      },
    };
  }

  /** Whether a block between these bytes could not be read. */
  isUnreadable(from: number, to: number): boolean {
    for (const at of this.#unreadable) if (at < to && at + UNREADABLE_BLOCK_BYTES > from) return true;
    return false;
  }

  get unreadableCount(): number {
    return this.#unreadable.size;
  }

  /** Another file is read from now on. */
  forget(): void {
    this.#unreadable.clear();
  }

  #readBlocks(
    ops: StorageOps,
    fd: number,
    target: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): number {
    let done = 0;
    while (done < length) {
      const at = position + done;
      const block = at - at % UNREADABLE_BLOCK_BYTES;
      const wanted = Math.min(length - done, block + UNREADABLE_BLOCK_BYTES - at);
      let count = wanted;
      try {
        count = ops.read(fd, target, offset + done, wanted, at);
      } catch (error) {
        if (errnoName(error) !== "EIO") throw error;
        this.#unreadable.add(block);
        target.fill(0, offset + done, offset + done + wanted);
      }
      if (count <= 0) break;
      done += count;
    }
    return done;
  }
}
