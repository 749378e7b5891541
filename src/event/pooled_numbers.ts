import type { BufferPool, PooledBuffer } from "./pooled_buffer.ts";

/** Fewer numbers than this are left to the garbage collector: a pooled buffer would pin more than it holds. */
export const POOLED_NUMBERS_MIN = 1_024;

/** Positions, in memory that goes back to its pool with `owner`; null when the garbage collector has it. */
export interface PooledNumbers {
  readonly numbers: Uint32Array;
  readonly owner: PooledBuffer | null;
}

/** Times, in the same way. */
export interface PooledTimes {
  readonly times: Float64Array;
  readonly owner: PooledBuffer | null;
}

/** `count` times of arbitrary content, owned once by the caller. */
export function takeTimes(pool: BufferPool, count: number): PooledTimes {
  if (count < POOLED_NUMBERS_MIN) return { times: new Float64Array(count), owner: null };
  const owner = pool.take(count * 8);
  const { buffer, byteOffset } = owner.data;
  return { times: new Float64Array(buffer, byteOffset, count), owner };
}

/**
 * `count` numbers of arbitrary content, owned once by the caller. Three arrays a chunk that were left to the garbage collector made most
 * of the garbage of a process that reads at full speed: memory went up and down by 14 MB.
 */
export function takeNumbers(pool: BufferPool, count: number): PooledNumbers {
  if (count < POOLED_NUMBERS_MIN) return { numbers: new Uint32Array(count), owner: null };
  const owner = pool.take(count * 4);
  const { buffer, byteOffset } = owner.data;
  return { numbers: new Uint32Array(buffer, byteOffset, count), owner };
}
