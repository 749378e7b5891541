import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
// The only file that touches kafkajs. Its own types leave these parts out: kafkajs_internals.d.ts.
import KafkaJsConnection, { type KafkaJsLogger, type RequestQueue } from "kafkajs/src/network/connection";
import type { SaslConfig, TlsConfig } from "../config/config.ts";
import type { Log } from "../telemetry/log.ts";
import { type ConnectStage, explainConnectError } from "./connect_errors.ts";
import { KafkaError, RequestError } from "./errors.ts";
import { withDeadline } from "./deadline.ts";
import { FrameReader } from "./frame_reader.ts";
import { ApiKey, apiName } from "./protocol/api_keys.ts";
import {
  API_VERSIONS_VERSION_MAX,
  type ApiVersionRange,
  decodeApiVersionsResponse,
  encodeApiVersions,
} from "./protocol/api_versions.ts";
import { ErrorCode, errorInfo } from "./protocol/error_codes.ts";
import { decodeCorrelationId, encodeRequestHeader, responseBody } from "./protocol/headers.ts";
import { SocketWriter } from "./socket_writer.ts";

export interface BrokerConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly clientId: string;
  readonly tls: TlsConfig | null;
  readonly sasl: SaslConfig | null;
  /** For each address: TCP and TLS together; then again for the first exchange and for authentication. */
  readonly connectTimeoutMs: number;
  /** No bytes in either direction for this long while an answer is awaited: the peer is dead, the connection is closed. */
  readonly socketTimeoutMs: number;
  readonly log: Log;
  /** Ends the attempt; has no effect once the connection is open. */
  readonly signal?: AbortSignal;
  /** The address came from the cluster (for the hint when it can't be reached). */
  readonly advertised?: boolean;
}

export interface RequestOptions {
  /** From the moment the request was handed to the socket. Too late: the connection is closed, since answers come in order. */
  readonly timeoutMs: number;
  /** false for Produce with acks = 0. */
  readonly expectResponse?: boolean;
}

/** An open, authenticated connection to one broker. */
export interface BrokerConnection {
  /** "host:port" */
  readonly broker: string;
  readonly isOpen: boolean;
  /** Requests that wait for their answer (or to be sent, while throttled). */
  readonly inFlightCount: number;
  /** Bytes handed to the socket. */
  readonly bytesWrittenCount: number;
  readonly bytesReadCount: number;
  /** Highest version that both sides know; null when there is none. */
  highestVersion(apiKey: number, min: number, max: number): number | null;
  /** The same, throwing RequestError "unsupported-version". */
  versionFor(apiKey: number, min: number, max: number): number;
  /**
   * Sends a request and resolves with what follows the header of its answer. Requests go out in the order of the calls. The Buffers of
   * `body` are written as they are and must not change until this settles. With `expectResponse: false` it resolves with an empty
   * Buffer once everything was taken by the operating system. Rejects with RequestError: "timeout", "closed", ECONNRESET, "bad-answer", ...
   */
  request(
    apiKey: number,
    apiVersion: number,
    body: readonly Buffer[],
    options: RequestOptions,
  ): Promise<Buffer>;
  /** Holds back further requests for this long, as the broker asked in an answer (KIP-219). */
  throttle(throttleMs: number): void;
  /** Called once, when the connection is closed for whatever reason; at the next microtask when it is closed already. */
  onClose(callback: (error: RequestError) => void): void;
  /** At once; requests that wait reject with "closed". */
  close(): void;
}

const KEEP_ALIVE_DELAY_MS = 60_000;
/** Timers look this often at most, and at least so often that a timeout is late by a tenth. */
const TICK_MS_MIN = 10;
const TICK_MS_MAX = 1_000;
/** Re-authentication starts this much before the end of a session, or a fifth of it if that is less. */
const REAUTHENTICATION_MARGIN_MS = 10_000;

/** "host:port", with brackets around IPv6. */
export function brokerName(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/**
 * kafkajs' connection with our own socket, framing, timers and errors. What is taken from it: the life of the socket, the request queue
 * (correlation ids, throttling) and authentication. What is replaced: `processData` (a length that cannot be ends the connection
 * instead of being awaited for ever), the queue's timer (it fires every millisecond for ever) and its 100 ms timeout check.
 */
export class KafkaJsBrokerConnection implements BrokerConnection {
  readonly broker: string;
  stage: ConnectStage = "connect";
  offeredMechanisms: readonly string[] = [];
  closeReason: KafkaError | null = null;
  readonly #options: BrokerConnectionOptions;
  readonly #kafkajs: KafkaJsConnection;
  readonly #frames = new FrameReader();
  readonly #onFrame = (frame: Buffer) => this.#takeFrame(frame);
  readonly #closeCallbacks: ((error: RequestError) => void)[] = [];
  /** Settles when the connection ends before it is open. */
  readonly #closed = Promise.withResolvers<never>();
  /** Rejects of requests that have no answer but are not written yet. */
  readonly #unwritten = new Set<(error: Error) => void>();
  #versions: ReadonlyMap<number, ApiVersionRange> = new Map();
  #socket: Socket | null = null;
  #writer: SocketWriter | null = null;
  #tickTimer: ReturnType<typeof setTimeout> | null = null;
  #tickMs: number;
  #activityMs = 0;
  #answersCount = 0;
  #authenticating: Promise<void> | null = null;
  #open = false;
  bytesReadCount = 0;

  constructor(options: BrokerConnectionOptions, address: string, secure: ConnectionOptions | null) {
    this.#options = options;
    this.broker = brokerName(options.host, options.port);
    this.#tickMs = tickFor(options.socketTimeoutMs);
    this.#closed.promise.catch(() => {});
    const sasl = options.sasl;
    this.#kafkajs = new KafkaJsConnection({
      host: options.host,
      port: options.port,
      logger: quietLogger(options.log, this.broker),
      socketFactory: ({ onConnect }) => this.#makeSocket(address, secure, onConnect),
      requestTimeout: 0,
      // Only looked at for its being there: the socket is ours.
      ssl: secure === null ? null : {},
      // kafkajs keeps state in this object: one for each connection.
      sasl: sasl === null
        ? null
        : { mechanism: sasl.mechanism, username: sasl.username, password: sasl.password },
      clientId: options.clientId,
      // Ours is earlier.
      connectionTimeout: options.connectTimeoutMs + 60_000,
      enforceRequestTimeout: false,
    });
    this.#kafkajs.processData = (data) => this.#takeData(data);
    quietQueue(this.#kafkajs.requestQueue);
    this.#noteMechanisms();
  }

  get isOpen(): boolean {
    return this.#open;
  }

  get inFlightCount(): number {
    const { inflight, pending } = this.#kafkajs.requestQueue;
    return inflight.size + pending.length;
  }

  get bytesWrittenCount(): number {
    return this.#writer?.bytesCount ?? 0;
  }

  async open(): Promise<void> {
    const { connectTimeoutMs, signal } = this.#options;
    const step = <T>(work: Promise<T>) =>
      withDeadline(Promise.race([work, this.#closed.promise]), connectTimeoutMs, signal);
    try {
      await step(this.#kafkajs.connect());
      this.stage = "versions";
      await step(this.#agreeOnVersions());
      if (this.#options.sasl !== null) {
        this.stage = "sasl";
        await step(this.#authenticate());
      }
    } catch (error) {
      this.#fail(error instanceof KafkaError ? error : null, error);
      throw error;
    }
    if (this.closeReason !== null) throw this.closeReason;
    this.#open = true;
  }

  #makeSocket(address: string, secure: ConnectionOptions | null, onConnect: () => void): Socket {
    const { host, port } = this.#options;
    const name = isIP(host) === 0 ? { servername: host } : {};
    const socket = secure === null
      ? connectTcp({ host: address, port }, onConnect)
      : connectTls({ ...name, ...secure, host: address, port }, onConnect);
    this.#socket = socket;
    if (secure !== null) socket.once("connect", () => this.stage = "tls");
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
    // Ours are registered first: requests get our errors, kafkajs finds nothing left to reject.
    socket.on("error", (error) => this.#fail(null, error));
    socket.on("end", () => this.#fail(null, null));
    socket.on("close", () => this.#fail(null, null));
    this.#writer = new SocketWriter(socket, () => this.#activityMs = Date.now());
    return socket;
  }

  async #agreeOnVersions(): Promise<void> {
    let version = API_VERSIONS_VERSION_MAX;
    for (;;) {
      const body = encodeApiVersions("shipper", "1", version);
      const answer = await this.#send(ApiKey.ApiVersions, version, body, {
        timeoutMs: this.#options.connectTimeoutMs,
      });
      const { errorCode, apis } = decodeApiVersionsResponse(answer, version);
      if (errorCode === ErrorCode.UNSUPPORTED_VERSION && version > 0) {
        version = 0;
        continue;
      }
      if (errorCode !== ErrorCode.NONE) {
        throw new KafkaError(
          "versions-refused",
          `It answered ${errorInfo(errorCode).name} to the first request`,
        );
      }
      this.#versions = apis;
      const forKafkaJs: Record<number, { minVersion: number; maxVersion: number }> = {};
      for (const [key, { min, max }] of apis) forKafkaJs[key] = { minVersion: min, maxVersion: max };
      this.#kafkajs.setVersions(forKafkaJs);
      this.#kafkajs.setSupportAuthenticationProtocol(true);
      return;
    }
  }

  /** The broker lists what it takes only in the answer that refuses; kafkajs drops that list. */
  #noteMechanisms(): void {
    const send = this.#kafkajs.send.bind(this.#kafkajs);
    this.#kafkajs.send = (protocol) => {
      if (protocol.request.apiKey !== ApiKey.SaslHandshake) return send(protocol);
      const decode = async (payload: Buffer): Promise<unknown> => {
        const decoded = await protocol.response.decode(payload) as { enabledMechanisms?: string[] };
        this.offeredMechanisms = decoded.enabledMechanisms ?? [];
        return decoded;
      };
      return send({ request: protocol.request, response: { decode, parse: protocol.response.parse } });
    };
  }

  async #authenticate(): Promise<void> {
    this.#armTimer(this.#options.connectTimeoutMs);
    await this.#kafkajs.authenticate();
    const lifetimeMs = Number(this.#kafkajs.sessionLifetime.toString());
    this.#kafkajs.reauthenticationThreshold = Math.min(REAUTHENTICATION_MARGIN_MS, Math.ceil(lifetimeMs / 5));
  }

  /** Again before the session ends (KIP-368). Other requests wait: the broker takes none in between. */
  #reauthenticate(): Promise<void> {
    this.#authenticating ??= withDeadline(
      Promise.race([this.#authenticate(), this.#closed.promise]),
      this.#options.connectTimeoutMs,
      undefined,
    ).catch((error: unknown) => {
      this.stage = "sasl";
      this.#fail(
        explainConnectError(error, {
          broker: this.broker,
          host: this.#options.host,
          stage: "sasl",
          tls: this.#options.tls !== null,
          saslMechanism: this.#options.sasl!.mechanism,
          advertised: false,
          connectTimeoutMs: this.#options.connectTimeoutMs,
          offeredMechanisms: this.offeredMechanisms,
        }),
        error,
      );
    }).finally(() => this.#authenticating = null);
    return this.#authenticating;
  }

  highestVersion(apiKey: number, min: number, max: number): number | null {
    const known = this.#versions.get(apiKey);
    if (known === undefined) return null;
    const highest = Math.min(max, known.max);
    return highest >= Math.max(min, known.min) ? highest : null;
  }

  versionFor(apiKey: number, min: number, max: number): number {
    const version = this.highestVersion(apiKey, min, max);
    if (version !== null) return version;
    const known = this.#versions.get(apiKey);
    const state = known === undefined ? "does not know it" : `knows versions ${known.min} to ${known.max}`;
    throw new RequestError(
      "unsupported-version",
      `Cannot send ${
        apiName(apiKey)
      } to broker "${this.broker}": it ${state}, versions ${min} to ${max} are spoken here`,
      { broker: this.broker, hint: "Kafka 1.0 or later is needed" },
    );
  }

  request(
    apiKey: number,
    apiVersion: number,
    body: readonly Buffer[],
    options: RequestOptions,
  ): Promise<Buffer> {
    if (!this.#open) return Promise.reject(this.#closeError());
    if (this.#options.sasl !== null && (this.#authenticating !== null || !this.#kafkajs.isAuthenticated())) {
      return this.#reauthenticate().then(() => this.request(apiKey, apiVersion, body, options));
    }
    return this.#send(apiKey, apiVersion, body, options);
  }

  #send(
    apiKey: number,
    apiVersion: number,
    body: readonly Buffer[],
    options: RequestOptions,
  ): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const expectResponse = options.expectResponse ?? true;
    const correlationId = this.#kafkajs.nextCorrelationId();
    let bodyBytes = 0;
    for (const chunk of body) bodyBytes += chunk.length;
    const header = encodeRequestHeader(apiKey, apiVersion, correlationId, this.#options.clientId, bodyBytes);
    let onWritten: (() => void) | null = null;
    if (!expectResponse) {
      this.#unwritten.add(reject);
      onWritten = () => {
        this.#unwritten.delete(reject);
        resolve(EMPTY);
      };
    }
    this.#kafkajs.requestQueue.push({
      entry: {
        apiKey,
        apiName: apiName(apiKey),
        apiVersion,
        correlationId,
        resolve: (answer) => {
          if (expectResponse) resolve(answer.payload!);
        },
        reject,
      },
      expectResponse,
      requestTimeout: options.timeoutMs,
      sendRequest: () => this.#writer!.write(header, body, onWritten),
    });
    this.#armTimer(options.timeoutMs);
    return promise;
  }

  throttle(throttleMs: number): void {
    if (this.#open && throttleMs > 0) this.#kafkajs.requestQueue.maybeThrottle(throttleMs);
  }

  #takeData(data: Buffer): void {
    if (this.closeReason !== null) return;
    this.#activityMs = Date.now();
    this.bytesReadCount += data.length;
    try {
      this.#frames.push(data, this.#onFrame);
    } catch (error) {
      this.#fail(null, error);
    }
  }

  #takeFrame(frame: Buffer): void {
    if (this.closeReason !== null) return;
    const queue = this.#kafkajs.requestQueue;
    const correlationId = decodeCorrelationId(frame);
    const waiting = queue.inflight.get(correlationId);
    if (waiting === undefined) {
      const error = new RequestError(
        "bad-answer",
        `Broker "${this.broker}" answered request ${correlationId}, which was not asked; the connection is closed`,
        { broker: this.broker },
      );
      this.#fail(error, error);
      return;
    }
    const payload = responseBody(frame, waiting.entry.apiKey, waiting.entry.apiVersion);
    if (this.#open) this.#answersCount++;
    queue.fulfillRequest({ correlationId, payload, size: frame.length });
  }

  /** One timer for a connection, and only while something is awaited. */
  #armTimer(timeoutMs: number): void {
    const tickMs = tickFor(timeoutMs);
    if (this.#tickTimer !== null && tickMs >= this.#tickMs) return;
    if (this.#tickTimer === null) this.#activityMs = Date.now();
    else clearTimeout(this.#tickTimer);
    this.#tickMs = Math.min(this.#tickMs, tickMs);
    this.#tickTimer = setTimeout(() => this.#tick(), this.#tickMs);
  }

  #tick(): void {
    this.#tickTimer = null;
    const queue = this.#kafkajs.requestQueue;
    if (this.closeReason !== null) return;
    if (queue.inflight.size === 0 && queue.pending.length === 0 && this.#unwritten.size === 0) return;
    const nowMs = Date.now();
    for (const { entry, sentAt, requestTimeout } of queue.inflight.values()) {
      if (requestTimeout > 0 && sentAt !== null && nowMs - sentAt > requestTimeout) {
        const what = `Broker "${this.broker}" gave no answer to ${entry.apiName} within ${requestTimeout} ms`;
        return this.#timeOut(`${what}; the connection is closed`);
      }
    }
    const awaited = queue.inflight.size > 0 || this.#unwritten.size > 0;
    if (awaited && nowMs - this.#activityMs > this.#options.socketTimeoutMs) {
      const what = `No bytes to or from broker "${this.broker}" for ${this.#options.socketTimeoutMs} ms`;
      return this.#timeOut(`${what} while an answer is awaited; the connection is closed`);
    }
    this.#tickTimer = setTimeout(() => this.#tick(), this.#tickMs);
  }

  #timeOut(message: string): void {
    const error = new RequestError("timeout", message, {
      broker: this.broker,
      hint: "Look for a stopped or overloaded broker, or a network that drops packets",
    });
    this.#fail(error, error);
  }

  #closeError(): RequestError {
    const reason = this.closeReason;
    if (reason instanceof RequestError) return reason;
    return new RequestError(
      reason?.code ?? "closed",
      reason?.message ?? `The connection to broker "${this.broker}" is not open`,
      {
        broker: this.broker,
        hint: reason?.hint ?? null,
        cause: reason ?? undefined,
      },
    );
  }

  onClose(callback: (error: RequestError) => void): void {
    if (this.closeReason !== null) queueMicrotask(() => callback(this.#closeError()));
    else this.#closeCallbacks.push(callback);
  }

  close(): void {
    this.#fail(
      new RequestError("closed", `The connection to broker "${this.broker}" was closed here`, {
        broker: this.broker,
      }),
      null,
    );
  }

  /** The one way out: the first reason counts. */
  #fail(reason: KafkaError | null, cause: unknown): void {
    if (this.closeReason !== null) return;
    this.closeReason = reason ?? this.#lostError(cause);
    const wasOpen = this.#open;
    this.#open = false;
    if (this.#tickTimer !== null) clearTimeout(this.#tickTimer);
    this.#closed.reject(wasOpen ? this.closeReason : cause ?? this.closeReason);
    const error = this.#closeError();
    const queue = this.#kafkajs.requestQueue;
    queue.rejectAll(error);
    queue.destroy();
    for (const reject of this.#unwritten) reject(error);
    this.#unwritten.clear();
    this.#writer?.stop();
    this.#socket?.destroy();
    this.#kafkajs.disconnect().catch((failure: unknown) => {
      this.#options.log.debug(`kafkajs could not end the connection to ${this.broker}: ${String(failure)}`);
    });
    for (const callback of this.#closeCallbacks) callback(error);
    this.#closeCallbacks.length = 0;
  }

  #lostError(cause: unknown): RequestError {
    const code = (cause as NodeJS.ErrnoException | null)?.code ?? (cause === null ? "closed" : "bad-answer");
    const how = cause === null ? "closed the connection" : `is lost: ${(cause as Error).message}`;
    const never = this.#open && this.#answersCount === 0;
    const hint = never && this.#options.sasl === null
      ? "It closed at the first request: the listener may want SASL (sasl.enabled) or TLS (tls.enabled)"
      : null;
    return new RequestError(code, `Broker "${this.broker}" ${how}`, {
      broker: this.broker,
      hint,
      cause: cause ?? undefined,
    });
  }
}

const EMPTY = Buffer.alloc(0);

function tickFor(timeoutMs: number): number {
  return Math.min(TICK_MS_MAX, Math.max(TICK_MS_MIN, Math.ceil(timeoutMs / 10)));
}

/**
 * kafkajs 2.2.4 arms a timer for every answer, also when nothing is pending, with a delay that is negative (-1 - now), and its callback
 * arms the next: a 1 ms timer loop for the life of each connection, and a warning from the runtime.
 */
function quietQueue(queue: RequestQueue): void {
  if (typeof queue.scheduleCheckPendingRequests !== "function") {
    throw new Error("kafkajs is not the version that connection.ts was written for (2.2.4)");
  }
  queue.scheduleCheckPendingRequests = () => {
    if (queue.throttleCheckTimeoutId !== null || queue.pending.length === 0) return;
    queue.throttleCheckTimeoutId = setTimeout(() => {
      queue.throttleCheckTimeoutId = null;
      queue.checkPendingRequests();
    }, Math.max(queue.throttledUntil - Date.now(), TICK_MS_MIN));
  };
}

/** What kafkajs says is for debugging; what operators need is in our errors. Its extra fields are dropped: they hold payloads. */
function quietLogger(log: Log, broker: string): KafkaJsLogger {
  const debug = (message: string) => log.debug(`kafkajs: ${message}`, { broker });
  const logger: KafkaJsLogger = { namespace: () => logger, error: debug, warn: debug, info: debug, debug };
  return logger;
}
