/** Sizes of arenas in bytes: an arena starts small and moves up, so that many quiet partitions cost little. */
export const ARENA_SIZES_BYTES = [16_384, 65_536, 262_144, 1_048_576] as const;

/** Free bytes that are kept for each size class; what comes back beyond goes back to the allocator. */
export const ARENA_FREE_BYTES_MAX = 8 * 1_048_576;

/** Where arenas come from and go to. */
export interface ArenaAllocator {
  allocateArena(sizeBytes: number): Buffer;
  /** Takes back what `allocateArena` returned. */
  releaseArena(arena: Buffer): void;
}

/** Reuses the memory that records are encoded into. One pool a sink. */
export class ArenaPool {
  readonly #free: Buffer[][] = ARENA_SIZES_BYTES.map(() => []);
  readonly #allocator: ArenaAllocator;

  constructor(allocator: ArenaAllocator) {
    this.#allocator = allocator;
  }

  /** Memory of at least `sizeBytes`; its content is arbitrary. Owned by the caller until `give`. */
  take(sizeBytes: number): Buffer {
    for (let i = 0; i < ARENA_SIZES_BYTES.length; i++) {
      const classBytes = ARENA_SIZES_BYTES[i]!;
      if (sizeBytes <= classBytes) return this.#free[i]!.pop() ?? this.#allocator.allocateArena(classBytes);
    }
    return this.#allocator.allocateArena(sizeBytes);
  }

  /** Takes memory back. It must not be touched afterwards. */
  give(arena: Buffer): void {
    const free = this.#free[ARENA_SIZES_BYTES.indexOf(arena.length as typeof ARENA_SIZES_BYTES[number])];
    if (free !== undefined && (free.length + 1) * arena.length <= ARENA_FREE_BYTES_MAX) free.push(arena);
    else this.#allocator.releaseArena(arena);
  }

  /** Gives everything that is free back to the allocator. */
  clear(): void {
    for (const free of this.#free) {
      for (const arena of free) this.#allocator.releaseArena(arena);
      free.length = 0;
    }
  }
}
