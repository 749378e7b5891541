/**
 * Memory with a count of its owners. A source fills it, batches refer into it, and the last `release` gives it back to the pool.
 *
 * Rules: whoever stores a reference to `data` calls `retain` first and `release` exactly once afterwards. `data` must not be written
 * after the first reader has seen it, until it is back in the pool.
 */
export interface PooledBuffer {
  readonly data: Buffer;
  retain(): void;
  release(): void;
}

/**
 * Sizes of pooled memory in bytes. A small append pins a small buffer; a backlog is read in large ones, and what is encoded from them
 * needs twice to four times as much.
 */
export const POOLED_SIZES_BYTES = [4_096, 16_384, 65_536, 262_144, 524_288, 1_048_576, 2_097_152] as const;

/** Free buffers that are kept for each size; what comes back beyond this is left to the garbage collector. */
export const POOLED_FREE_MAX = 64;

/** Bytes of free buffers that are kept for each size. */
export const POOLED_FREE_MAX_BYTES = 16_777_216;

class Pooled implements PooledBuffer {
  readonly data: Buffer;
  #owners = 1;
  /** Where it goes after its last owner; null: to the garbage collector. */
  readonly #free: Pooled[] | "system" | null;

  constructor(data: Buffer, free: Pooled[] | "system" | null) {
    this.data = data;
    this.#free = free;
  }

  reuse(): void {
    this.#owners = 1;
  }

  retain(): void {
    if (this.#owners === 0) throw new Error("Cannot retain a buffer that was given back to its pool");
    this.#owners++;
  }

  release(): void {
    if (this.#owners === 0) throw new Error("Cannot release a buffer that was given back to its pool");
    if (--this.#owners > 0 || this.#free === null) return;
    if (this.#free === "system") {
      (this.data.buffer as ArrayBuffer).transfer(0);
      return;
    }
    const freeMax = Math.min(POOLED_FREE_MAX, POOLED_FREE_MAX_BYTES / this.data.length);
    if (this.#free.length < freeMax) this.#free.push(this);
  }
}

/** Hands out memory in a few fixed sizes and takes it back. Larger requests are served once and not kept. */
export class BufferPool {
  readonly #free: Pooled[][] = POOLED_SIZES_BYTES.map(() => []);

  /** Memory of at least `sizeBytes`, owned once by the caller; its content is arbitrary. */
  take(sizeBytes: number): PooledBuffer {
    for (let i = 0; i < POOLED_SIZES_BYTES.length; i++) {
      const classBytes = POOLED_SIZES_BYTES[i]!;
      if (sizeBytes > classBytes) continue;
      const free = this.#free[i]!;
      const pooled = free.pop();
      if (pooled === undefined) return new Pooled(Buffer.allocUnsafeSlow(classBytes), free);
      pooled.reuse();
      return pooled;
    }
    return new Pooled(Buffer.allocUnsafeSlow(sizeBytes), null);
  }

  /**
   * Memory of just this size, for what pooled memory would be too large for. It goes back to the system with its last owner, and not with the next
   * collection: copies of what is read from a pipe at full speed made half a gigabyte of garbage for each gigabyte. Nothing asynchronous may be under
   * way in it then.
   */
  takeExact(sizeBytes: number): PooledBuffer {
    return new Pooled(Buffer.allocUnsafeSlow(sizeBytes), "system");
  }

  /** Leaves what is free to the garbage collector. */
  trim(): void {
    for (const free of this.#free) free.length = 0;
  }
}

/** Wraps memory that belongs to nobody else and is left to the garbage collector after its last owner. */
export function unpooled(data: Buffer): PooledBuffer {
  return new Pooled(data, null);
}
