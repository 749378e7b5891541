import type { MissingEvents } from "./event_fates.ts";

/** Something that is wrong with a disk buffer. */
export interface BufferProblem {
  /** Path of the file that is damaged; null: events are missing, and no file says why. */
  readonly file: string | null;
  readonly byte: number;
  readonly cause: string;
  /** What is lost by it; null: nothing that is still wanted, as far as is known. */
  readonly missing: MissingEvents | null;
}

/** A place in a file that is wrong. */
export interface Damage {
  readonly file: string;
  readonly byte: number;
  readonly cause: string;
}

/**
 * Joins places that are damaged with the events that are missing behind them. A place stays pending until the next good frame of events: only its
 * number says what was lost.
 */
export class WalkProblems {
  readonly #onProblem: (problem: BufferProblem) => void;
  #pending: Damage[] = [];

  constructor(onProblem: (problem: BufferProblem) => void) {
    this.#onProblem = onProblem;
  }

  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  damaged(damage: Damage): void {
    this.#pending.push(damage);
  }

  /** These events are missing between the frame before and the next good one. */
  missing(missing: MissingEvents): void {
    const last = this.#pending.pop();
    this.flush();
    this.#onProblem({
      ...(last ?? { file: null, byte: 0, cause: "no file holds them" }),
      missing,
    });
  }

  /** A good frame follows without a gap. */
  flush(): void {
    for (const damage of this.#pending.splice(0)) this.#onProblem({ ...damage, missing: null });
  }
}
