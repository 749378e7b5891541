/** A request whose answer is awaited. */
export interface AwaitedRequest {
  readonly apiName: string;
  /** When it was given to the socket, by the clock of `performance.now()`. */
  readonly sentMs: number;
  /** 0: not watched. */
  readonly timeoutMs: number;
}

export interface RequestWatchOptions {
  /** No bytes either way for this long while something is awaited: the peer is dead. */
  readonly socketTimeoutMs: number;
  /** Answers or the socket's taking of bytes are awaited; what is held back because a broker asks for that does not count. */
  readonly isAwaiting: () => boolean;
  readonly awaited: () => Iterable<AwaitedRequest>;
  /** Called once; the watch is over then. The message goes on after 'Broker "host:port" '. */
  readonly onTimeout: (message: string) => void;
}

/** Timers look this often at most, and at least so often that a timeout is late by a tenth. */
const TICK_MS_MIN = 10;
const TICK_MS_MAX = 1_000;

/** Timeouts of one connection by one coarse timer, which runs only while something is awaited. */
export class RequestWatch {
  readonly #options: RequestWatchOptions;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #tickMs: number;
  /** Monotonic, as all times here: a wall clock that is set ends no connection, and keeps none. */
  #activityMs = 0;
  #stopped = false;

  constructor(options: RequestWatchOptions) {
    this.#options = options;
    this.#tickMs = tickFor(options.socketTimeoutMs);
  }

  /** Bytes have moved. */
  touch(): void {
    this.#activityMs = performance.now();
  }

  /** Something is awaited from now on, for at most `timeoutMs`. */
  arm(timeoutMs: number): void {
    const tickMs = tickFor(timeoutMs);
    if (this.#stopped || (this.#timer !== null && tickMs >= this.#tickMs)) return;
    if (this.#timer === null) this.touch();
    else clearTimeout(this.#timer);
    this.#tickMs = Math.min(this.#tickMs, tickMs);
    this.#timer = setTimeout(() => this.#tick(), this.#tickMs);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #tick(): void {
    this.#timer = null;
    const { socketTimeoutMs, isAwaiting, awaited, onTimeout } = this.#options;
    if (!isAwaiting()) return;
    const nowMs = performance.now();
    for (const { apiName, sentMs, timeoutMs } of awaited()) {
      if (timeoutMs === 0 || nowMs - sentMs <= timeoutMs) continue;
      this.stop();
      return onTimeout(`gave no answer to ${apiName} within ${timeoutMs} ms`);
    }
    if (nowMs - this.#activityMs > socketTimeoutMs) {
      this.stop();
      return onTimeout(`sent and took no bytes for ${socketTimeoutMs} ms while an answer is awaited`);
    }
    this.#timer = setTimeout(() => this.#tick(), this.#tickMs);
  }
}

function tickFor(timeoutMs: number): number {
  return Math.min(TICK_MS_MAX, Math.max(TICK_MS_MIN, Math.ceil(timeoutMs / 10)));
}
