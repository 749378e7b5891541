import type { Socket, SocketHandler } from "bun";
import { ANSWER_MS, HttpConnection, REQUEST_MS } from "./http_connection.ts";

/** A client that does nothing for so long may be given up for another one, where there are as many as there may be. */
export const GIVE_UP_MS = 1_000;

export interface HttpServerOptions {
  readonly answer: (request: Request) => Response | Promise<Response>;
  /** Connections at a time, at least 1. */
  readonly connectionsMax: number;
  /** There were as many as there may be: another one was given up for a new one, or the new one refused. */
  readonly onFull: (isRefused: boolean, connectionsMax: number) => void;
  readonly now: () => number;
  /** For tests. */
  readonly requestMs?: number;
  readonly answerMs?: number;
}

/** Listens where `listen` says; synchronous. */
export type Listen<T> = (socket: SocketHandler<HttpConnection, "buffer">) => T;

/**
 * Serves GET and HEAD over HTTP/1.1.
 *
 * Bun.serve has no limit on connections, and its idle timeout begins anew with each byte: whoever sends a byte now and then holds as many descriptors as
 * there are, which the files that are read need. Node's server in Bun is made of it. So this is own code, for requests without a body.
 */
export class HttpServer {
  readonly #options: HttpServerOptions;
  /** The first one is the one that began first to do what it does, or nearly: it is looked at by `sinceMs`. */
  readonly #connections = new Set<HttpConnection>();
  #stopped: (() => void) | null = null;
  /** As `HttpServerOptions.connectionsMax`; for connections that come. */
  connectionsMax: number;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.connectionsMax = options.connectionsMax;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** What a listener of Bun does with its sockets. */
  readonly handler: SocketHandler<HttpConnection, "buffer"> = {
    binaryType: "buffer",
    open: (socket) => this.#open(socket),
    data: ({ data: connection }, bytes) => connection?.take(bytes),
    drain: ({ data: connection }) => connection?.drain(),
    end: ({ data: connection }) => connection?.halfClosed(),
    close: ({ data: connection }) => connection?.closed(),
    error: ({ data: connection }) => connection?.cut(),
  };

  /** Ends what is idle now, and what is answered when it is; cuts what is left after `graceMs`. The listener is the caller's to stop. */
  async stop(graceMs: number): Promise<void> {
    for (const connection of this.#connections) connection.finish();
    if (this.#connections.size > 0) {
      const timer = Promise.withResolvers<void>();
      const timeout = setTimeout(timer.resolve, graceMs);
      await Promise.race([new Promise<void>((resolve) => this.#stopped = resolve), timer.promise]);
      clearTimeout(timeout);
    }
    for (const connection of this.#connections) connection.cut();
  }

  #open(socket: Socket<HttpConnection>): void {
    const { requestMs = REQUEST_MS, answerMs = ANSWER_MS } = this.#options;
    if (this.#connections.size >= this.connectionsMax && !this.#makeRoom()) {
      socket.terminate();
      return;
    }
    const connection: HttpConnection = new HttpConnection(socket, {
      ...this.#options,
      requestMs,
      answerMs,
      onClosed: () => this.#closed(connection),
    });
    this.#connections.add(connection);
    socket.data = connection;
  }

  /** Gives up the one that its client has left alone for longest. */
  #makeRoom(): boolean {
    const { now, onFull } = this.#options;
    let oldest: HttpConnection | null = null;
    for (const connection of this.#connections) {
      if (connection.isWaiting && (oldest === null || connection.sinceMs < oldest.sinceMs)) {
        oldest = connection;
      }
    }
    const isRefused = oldest === null || now() - oldest.sinceMs < GIVE_UP_MS;
    onFull(isRefused, this.connectionsMax);
    if (isRefused) return false;
    this.#connections.delete(oldest!);
    oldest!.cut();
    return true;
  }

  #closed(connection: HttpConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#stopped?.();
  }
}
