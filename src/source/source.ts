import type { Outlet } from "../event/chunk.ts";

/**
 * A way in. It reads bytes and offers them to its outlets, one for each sink that takes it as an input; every outlet has a position of
 * its own, and a full outlet never holds another one of a file source.
 */
export interface Source {
  /** Name in the configuration, for example "app" of `[sources.app]`. */
  readonly name: string;
  /**
   * Reads until the source has ended and everything was offered, or until `signal` aborts; what was not taken then is read again after a
   * restart. Resolves after its files are closed. Rejects only on a bug. To be called once.
   */
  run(signal: AbortSignal): Promise<void>;
  /** The path of a file of which something would be lost if `run` ended now; null: nothing would be. */
  holdsAlone?(): Promise<string | null>;
  /** After `run`, where shipper goes on without it: gauges do not count it any more. */
  leave?(): void;
}

/**
 * A source whose bytes cannot be read again: it goes on when its sinks change. `pause`, then `exchange`; see `ByteIntake`.
 */
export interface PipeSource extends Source {
  /** Nothing is read until `exchange`, but for what is on its way; these sinks get nothing either. */
  pause(heldSinks: ReadonlySet<string>): void;
  /** Whether the sink was given all complete lines that were read for it. */
  isDrained(sink: string): boolean;
  /** Goes on with these outlets, which get what was left for the ones of the same sink before. */
  exchange(outlets: readonly Outlet[]): void;
}
