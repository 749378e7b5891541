import type { EventBuffer } from "../buffer/event_buffer.ts";
import type { DeadLetters } from "../event/dead_letters.ts";

/** Why a sink can't deliver now, in a full sentence for people, with a hint that can be typed where there is one. */
export interface HealthFailure {
  /** Short code, for example "sasl-refused", "topic-unknown", "broker-unreachable". */
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

/** A way out of the process. */
export interface Sink {
  readonly name: string;
  /** Where lines are kept that name no place in it; null or left out: they are dropped, or go to another one. */
  readonly lineLetters?: DeadLetters | null;
  /** Tries to reach what is behind it, authenticates, finds its topics. Null when healthy, `CHECK_CUT_SHORT` when `run` ended first. Ends early when `signal` aborts. */
  checkHealth(signal: AbortSignal): Promise<HealthFailure | null>;
  /**
   * Delivers what the buffer holds, in order where the sink keeps order, until the buffer has ended and everything is settled (resolves).
   * When `kill` aborts, it gives up at once: what is left in the buffer and in flight is settled as "errored", and it resolves.
   *
   * Rejects when it can never go on (a `StartError`: its reader is gone for good) or on a bug; the run ends then.
   */
  run(buffer: EventBuffer, kill: AbortSignal): Promise<void>;
}
