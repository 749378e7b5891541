/** Random numbers that a test can have again by the seed that it prints. */
export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.#state = this.seed;
  }

  /** In [0, 1). */
  next(): number {
    // mulberry32: any seed will do, 0 included
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)]!;
  }

  /** A generator of its own, so that what one part of a test draws does not change what another gets. */
  fork(): Random {
    return new Random(this.between(0, 2 ** 32 - 1));
  }
}

/** A new seed, or the one that SHIPPER_TEST_SEED names; printed, on stderr, where scripts/test shows it with a failure. */
export function seededRandom(what: string): Random {
  const given = process.env.SHIPPER_TEST_SEED;
  const random = new Random(given === undefined ? Date.now() : Number(given));
  console.error(`${what}: seed ${random.seed} (again: SHIPPER_TEST_SEED=${random.seed})`);
  return random;
}
