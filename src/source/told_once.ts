import type { Log } from "../telemetry/log.ts";

/** Things remembered at most; when it is full, it starts anew, and a few things are told a second time. */
export const TOLD_MAX = 10_000;

/** Warns once about each thing, until it is over. */
export class ToldOnce {
  readonly #log: Log;
  readonly #told = new Map<string, string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Logs when this message was not the last one about `key`. */
  warn(key: string, message: string): void {
    if (this.#told.get(key) === message) return;
    if (this.#told.size >= TOLD_MAX) this.#told.clear();
    this.#told.set(key, message);
    this.#log.warn(message);
  }

  /** It is over; logs so if there was a warning. */
  clear(key: string, message: string): void {
    if (this.#told.delete(key)) this.#log.info(message);
  }
}
