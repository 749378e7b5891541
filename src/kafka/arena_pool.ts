/** Sizes of arenas in bytes: an arena starts small and moves up, so that many quiet partitions cost little. */
export const ARENA_SIZES_BYTES = [16_384, 65_536, 262_144, 1_048_576] as const;

/** Free bytes that are kept for each size class; what comes back beyond is left to the garbage collector. */
export const ARENA_FREE_BYTES_MAX = 8 * 1_048_576;

/** Reuses the memory that records are encoded into. Not for sharing between threads; one pool a sink. */
export class ArenaPool {
  readonly #free: Buffer[][] = ARENA_SIZES_BYTES.map(() => []);
  readonly #allocate: (sizeBytes: number) => Buffer;

  /** `allocate` makes new memory, for a compressor that wants a particular kind. */
  constructor(allocate: (sizeBytes: number) => Buffer = Buffer.allocUnsafeSlow) {
    this.#allocate = allocate;
  }

  /** Memory of at least `sizeBytes`; its content is arbitrary. Owned by the caller until `give`. */
  take(sizeBytes: number): Buffer {
    for (let i = 0; i < ARENA_SIZES_BYTES.length; i++) {
      if (sizeBytes <= ARENA_SIZES_BYTES[i]!) return this.#free[i]!.pop() ?? this.#allocate(ARENA_SIZES_BYTES[i]!);
    }
    return this.#allocate(sizeBytes);
  }

  /** Takes memory back. It must not be touched afterwards. */
  give(arena: Buffer): void {
    const i = ARENA_SIZES_BYTES.indexOf(arena.length as typeof ARENA_SIZES_BYTES[number]);
    if (i < 0) return;
    const free = this.#free[i]!;
    if ((free.length + 1) * arena.length <= ARENA_FREE_BYTES_MAX) free.push(arena);
  }
}
