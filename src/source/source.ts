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
}
