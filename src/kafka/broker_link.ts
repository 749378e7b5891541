import { backoffMs } from "./backoff.ts";
import type { BrokerConnection } from "./broker_connection.ts";
import { KafkaError, RequestError } from "./errors.ts";

export interface BrokerLinkOptions {
  readonly host: string;
  readonly port: number;
  readonly retryIntervalMs: number;
  readonly retryMaxIntervalMs: number;
  readonly connectTimeoutMs: number;
  readonly connectTimeoutMaxMs: number;
  readonly random: () => number;
  readonly open: (target: BrokerTarget, signal: AbortSignal) => Promise<BrokerConnection>;
}

/** Where to, and how long that may take. */
export interface BrokerTarget {
  readonly host: string;
  readonly port: number;
  readonly connectTimeoutMs: number;
}

/** How uneven the time for an attempt after the first is made, as Kafka's clients do: so much more or less. */
const CONNECT_TIMEOUT_JITTER = 0.2;
/** Doubling needs no more steps than this to pass any maximum. */
const DOUBLINGS_MAX = 16;

/** `connect_timeout_ms` after so many attempts in a row that failed (KIP-601). `random` is in [0, 1). */
export function connectTimeoutAfter(
  failureCount: number,
  { connectTimeoutMs, connectTimeoutMaxMs }: Pick<
    BrokerLinkOptions,
    "connectTimeoutMs" | "connectTimeoutMaxMs"
  >,
  random: number,
): number {
  if (failureCount === 0) return connectTimeoutMs;
  const fullMs = connectTimeoutMs * 2 ** Math.min(failureCount, DOUBLINGS_MAX);
  const unevenMs = fullMs * (1 - CONNECT_TIMEOUT_JITTER + 2 * CONNECT_TIMEOUT_JITTER * random);
  return Math.round(Math.min(unevenMs, connectTimeoutMaxMs));
}

/**
 * The way to one broker: at most one connection, opened when first wanted, with back-off between tries. A connection that opens and is
 * lost soon after counts as a failed try, or a broker that drops every client would be asked in a tight loop.
 */
export class BrokerLink {
  readonly #options: BrokerLinkOptions;
  readonly #abort = new AbortController();
  #host: string;
  #port: number;
  #connection: BrokerConnection | null = null;
  #opening: Promise<BrokerConnection> | null = null;
  #failureCount = 0;
  /** Attempts in a row that led to no connection. */
  #unopenedCount = 0;
  /** By the monotonic clock, as all times here: a wall clock that is set back must not keep a broker unreachable. */
  #nextTryMs = 0;
  #endPause: (() => void) | null = null;

  constructor(options: BrokerLinkOptions) {
    this.#options = options;
    this.#host = options.host;
    this.#port = options.port;
  }

  get host(): string {
    return this.#host;
  }

  get port(): number {
    return this.#port;
  }

  /** The open connection, or null. */
  get connection(): BrokerConnection | null {
    return this.#connection?.isOpen === true ? this.#connection : null;
  }

  /** True while the next try has to wait. */
  get isBackingOff(): boolean {
    return this.connection === null && this.#nextTryMs > performance.now();
  }

  /**
   * The open connection, or a new one after what is left of the back-off; callers share the try. Rejects with ConnectError when the try
   * fails, RequestError "closed" when the link is closed meanwhile.
   */
  connect(): Promise<BrokerConnection> {
    const open = this.connection;
    if (open !== null) return Promise.resolve(open);
    this.#opening ??= this.#open().finally(() => this.#opening = null);
    return this.#opening;
  }

  async #open(): Promise<BrokerConnection> {
    for (let waitMs; (waitMs = this.#nextTryMs - performance.now()) > 0 && !this.#abort.signal.aborted;) {
      await this.#pause(waitMs);
    }
    if (this.#abort.signal.aborted) throw this.#closedError();
    try {
      const connectTimeoutMs = connectTimeoutAfter(
        this.#unopenedCount,
        this.#options,
        this.#options.random(),
      );
      const target = { host: this.#host, port: this.#port, connectTimeoutMs };
      const connection = await this.#options.open(target, this.#abort.signal);
      if (this.#abort.signal.aborted) {
        connection.close();
        throw this.#closedError();
      }
      this.#take(connection);
      return connection;
    } catch (error) {
      this.#unopenedCount++;
      this.#failed();
      throw error;
    }
  }

  /** Takes over a connection to the same address that was opened elsewhere. False when there is one already. */
  adopt(connection: BrokerConnection): boolean {
    if (this.connection !== null || this.#opening !== null || this.#abort.signal.aborted) return false;
    this.#take(connection);
    return true;
  }

  /** Gives the connection away: it is no longer closed with this link. */
  release(): BrokerConnection | null {
    const connection = this.connection;
    this.#connection = null;
    return connection;
  }

  #take(connection: BrokerConnection): void {
    const openedMs = performance.now();
    this.#connection = connection;
    this.#unopenedCount = 0;
    connection.onClose(() => {
      if (this.#connection !== connection) return;
      this.#connection = null;
      if (performance.now() - openedMs < this.#options.retryMaxIntervalMs) this.#failed();
      else this.#failureCount = 0;
    });
  }

  #failed(): void {
    const { retryIntervalMs, retryMaxIntervalMs, random } = this.#options;
    this.#failureCount++;
    this.#nextTryMs = performance.now() +
      backoffMs(this.#failureCount, retryIntervalMs, retryMaxIntervalMs, random());
  }

  /** The cluster says that the broker is there: the next try is at most this far away, whatever the back-off says. */
  waitAtMost(waitMs: number): void {
    const tryMs = performance.now() + waitMs;
    if (this.#nextTryMs <= tryMs) return;
    this.#nextTryMs = tryMs;
    this.#endPause?.();
  }

  /** A new address counts from the next connection on; an open one stays while it lives. */
  move(host: string, port: number): void {
    if (host === this.#host && port === this.#port) return;
    this.#host = host;
    this.#port = port;
    this.#failureCount = 0;
    this.#unopenedCount = 0;
    this.waitAtMost(0);
  }

  close(): void {
    this.#abort.abort();
    this.#endPause?.();
    this.#connection?.close();
    this.#connection = null;
  }

  #pause(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#endPause?.(), waitMs);
      this.#endPause = () => {
        clearTimeout(timer);
        this.#endPause = null;
        resolve();
      };
    });
  }

  #closedError(): KafkaError {
    const broker = `${this.#host}:${this.#port}`;
    return new RequestError("closed", `Broker "${broker}" is no longer wanted`, { broker });
  }
}
