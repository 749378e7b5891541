import type { Socket } from "node:net";
// The only file that touches kafkajs. Its own types leave these parts out: kafkajs_internals.d.ts.
import KafkaJsConnection, { type QueueEntry } from "kafkajs/src/network/connection";
import type { BrokerConnection, BrokerConnectionOptions, RequestOptions } from "./broker_connection.ts";
import { connectSocket } from "./broker_socket.ts";
import { BrokerVersions } from "./broker_versions.ts";
import { type ConnectContext, type ConnectStage, explainConnectError } from "./connect_errors.ts";
import { KafkaError, RequestError } from "./errors.ts";
import { withDeadline } from "./deadline.ts";
import { FrameReader } from "./frame_reader.ts";
import { kafkaJsSasl, limitIterations, noteMechanisms } from "./kafkajs_login.ts";
import { awaitedOf, quietLogger, repairThrottling } from "./kafkajs_repairs.ts";
import { apiName } from "./protocol/api_keys.ts";
import { decodeCorrelationId, encodeRequestHeader, responseBody } from "./protocol/headers.ts";
import { isTokenLogin, type LoginMessage } from "./login/login.ts";
import { RequestWatch } from "./request_watch.ts";
import type { TlsMaterial } from "./security.ts";
import { SocketWriter } from "./socket_writer.ts";

/** Re-authentication starts this much before the end of a session, or a fifth of it if that is less. */
const REAUTHENTICATION_MARGIN_MS = 10_000;
/** Brokers refuse to be asked again within a second. */
const SESSION_MS_MIN = 1_100;

/** "host:port", with brackets around IPv6. */
export function brokerName(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/**
 * kafkajs' connection with our own socket, framing, timers and errors. Taken from it: the life of the socket, the request queue (correlation ids) and
 * authentication. Replaced: `processData` (a length that cannot be ends the connection instead of being awaited for ever), throttling, timeouts.
 */
export class KafkaJsBrokerConnection implements BrokerConnection {
  readonly broker: string;
  stage: ConnectStage = "connect";
  closeReason: KafkaError | null = null;
  /** What `closeReason` was made of. */
  failCause: unknown = null;
  readonly #options: BrokerConnectionOptions;
  readonly #kafkajs: KafkaJsConnection;
  readonly #watch: RequestWatch;
  readonly #frames = new FrameReader();
  readonly #onFrame = (frame: Buffer) => this.#takeFrame(frame);
  readonly #closeCallbacks: ((error: RequestError) => void)[] = [];
  /** Settles when the connection ends before it is open. */
  readonly #closed = Promise.withResolvers<never>();
  /** Rejects of requests that have no answer but are not written yet. */
  readonly #unwritten = new Set<(error: Error) => void>();
  #versions: BrokerVersions;
  #socket: Socket | null = null;
  /** kafkajs' callback; ends its connect timer. */
  #onConnect: () => void = () => {};
  #writer: SocketWriter | null = null;
  #answersCount = 0;
  #authenticating: Promise<void> | null = null;
  #open = false;
  #offeredMechanisms: readonly string[] = [];
  /** What was prepared for the next login with a token. */
  #loginMessage: LoginMessage | null;
  readonly #secure: TlsMaterial | null;
  bytesReadCount = 0;
  throttledUntilMs = 0;

  /** `message`: the first of a login with a token. */
  constructor(
    options: BrokerConnectionOptions,
    address: string,
    secure: TlsMaterial | null,
    message: LoginMessage | null,
  ) {
    this.#options = options;
    this.#loginMessage = message;
    this.#secure = secure;
    this.broker = brokerName(options.host, options.port);
    this.#versions = new BrokerVersions(this.broker, new Map());
    this.#closed.promise.catch(() => {});
    const { login } = options;
    this.#kafkajs = new KafkaJsConnection({
      host: options.host,
      port: options.port,
      logger: quietLogger(options.log, this.broker),
      socketFactory: ({ onConnect }) => this.#makeSocket(address, secure, onConnect),
      requestTimeout: 0,
      // Only looked at for its being there: the socket is ours.
      ssl: secure === null ? null : {},
      sasl: login === null ? null : kafkaJsSasl(login, () => this.#loginMessage!),
      clientId: options.clientId,
      // Ours is earlier.
      connectionTimeout: options.connectTimeoutMs + 60_000,
      enforceRequestTimeout: false,
    });
    this.#kafkajs.processData = (data) => this.#takeData(data);
    const queue = this.#kafkajs.requestQueue;
    repairThrottling(queue, () => this.throttledUntilMs);
    this.#watch = new RequestWatch({
      socketTimeoutMs: options.socketTimeoutMs,
      isAwaiting: () => queue.inflight.size > 0 || this.#unwritten.size > 0,
      awaited: () => awaitedOf(queue),
      onTimeout: (message) => this.#timeOut(message),
    });
    noteMechanisms(this.#kafkajs, (offered) => this.#offeredMechanisms = offered);
    limitIterations(this.#kafkajs, login);
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
      if (this.#options.login !== null) {
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

  #makeSocket(address: string, secure: TlsMaterial | null, onConnect: () => void): Socket {
    const { host, port, onCertificates, socketBuffers } = this.#options;
    const to = { host, address, port, broker: this.broker, buffers: socketBuffers ?? null };
    const socket = connectSocket(to, secure?.options ?? null, {
      onHandshake: () => this.stage = "tls",
      onConnect,
      onCertificate: (seen) => onCertificates?.([seen]),
    });
    this.#socket = socket;
    this.#onConnect = onConnect;
    // Ours are registered first: requests get our errors, kafkajs finds nothing left to reject.
    socket.on("error", (error) => this.#fail(null, error));
    socket.on("end", () => this.#ended());
    socket.on("close", () => this.#ended());
    this.#writer = new SocketWriter(socket, () => this.#watch.touch());
    return socket;
  }

  /** A refusal often comes together with the end: kafkajs gets the time to read it, its error says more. */
  #ended(): void {
    if (this.#open || this.#kafkajs.requestQueue.inflight.size > 0) this.#fail(null, null);
    else setTimeout(() => this.#fail(null, null), 0);
  }

  async #agreeOnVersions(): Promise<void> {
    const timeoutMs = this.#options.connectTimeoutMs;
    this.#versions = await BrokerVersions.ask(
      this.broker,
      (apiKey, version, body) => this.#send(apiKey, version, body, { timeoutMs }),
    );
    this.#kafkajs.setVersions(this.#versions.forKafkaJs());
    this.#kafkajs.setSupportAuthenticationProtocol(true);
  }

  async #authenticate(): Promise<void> {
    this.#watch.arm(this.#options.connectTimeoutMs);
    await this.#kafkajs.authenticate();
    const lifetimeMs = Number(this.#kafkajs.sessionLifetime.toString());
    const marginMs = Math.min(REAUTHENTICATION_MARGIN_MS, Math.ceil(lifetimeMs / 5));
    this.#kafkajs.reauthenticationThreshold = Math.max(0, Math.min(marginMs, lifetimeMs - SESSION_MS_MIN));
  }

  /** Again before the session ends (KIP-368). Other requests wait: the broker takes none in between. */
  #reauthenticate(): Promise<void> {
    this.#authenticating ??= this.#renewSession().catch((error: unknown) => {
      this.stage = "sasl";
      this.#fail(explainConnectError(error, { ...this.explainContext(), isRenewal: true }), error);
    }).finally(() => this.#authenticating = null);
    return this.#authenticating;
  }

  async #renewSession(): Promise<void> {
    const { login, host, connectTimeoutMs } = this.#options;
    if (isTokenLogin(login!)) this.#loginMessage = await login.prepare(host);
    const work = Promise.race([this.#authenticate(), this.#closed.promise]);
    // A broker that asks to wait reads nothing meanwhile.
    const heldMs = Math.max(0, this.throttledUntilMs - performance.now());
    await withDeadline(work, connectTimeoutMs + heldMs, undefined);
  }

  highestVersion(apiKey: number, min: number, max: number): number | null {
    return this.#versions.highest(apiKey, min, max);
  }

  versionFor(apiKey: number, min: number, max: number): number {
    return this.#versions.versionFor(apiKey, min, max);
  }

  featureLevel(name: string): number {
    return this.#versions.featureLevel(name);
  }

  request(
    apiKey: number,
    apiVersion: number,
    body: readonly Buffer[],
    options: RequestOptions,
  ): Promise<Buffer> {
    if (!this.#open) return Promise.reject(this.#closeError());
    if (this.#options.login !== null && (this.#authenticating !== null || !this.#kafkajs.isAuthenticated())) {
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
      onWritten = () => {
        this.#unwritten.delete(reject);
        resolve(EMPTY);
      };
    }
    const entry: QueueEntry = {
      apiKey,
      apiName: apiName(apiKey),
      apiVersion,
      correlationId,
      resolve: (answer) => {
        if (expectResponse) resolve(answer.payload!);
      },
      reject,
    };
    this.#kafkajs.requestQueue.push({
      entry,
      expectResponse,
      requestTimeout: options.timeoutMs,
      // At once, or when the broker no longer asks to wait.
      sendRequest: () => {
        entry.sentMs = performance.now();
        this.#watch.arm(options.timeoutMs);
        if (!expectResponse) this.#unwritten.add(reject);
        this.#writer!.write(header, body, onWritten);
      },
    });
    return promise;
  }

  /** What error messages need to know about this attempt. */
  explainContext(): ConnectContext {
    const { host, tls, login, advertised = false, connectTimeoutMs } = this.#options;
    return {
      broker: this.broker,
      host,
      stage: this.stage,
      tls: tls !== null,
      saslMechanism: login?.mechanism ?? null,
      advertised,
      connectTimeoutMs,
      offeredMechanisms: this.#offeredMechanisms,
      clientCertificate: this.#secure?.certificates.find(({ role }) => role === "client") ?? null,
      isRenewal: false,
    };
  }

  throttle(throttleMs: number): void {
    this.throttledUntilMs = Math.max(this.throttledUntilMs, performance.now() + throttleMs);
  }

  #takeData(data: Buffer): void {
    if (this.closeReason !== null) return;
    this.#watch.touch();
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

  #timeOut(message: string): void {
    const error = new RequestError(
      "timeout",
      `Broker "${this.broker}" ${message}; the connection is closed`,
      {
        broker: this.broker,
        hint: "Look for a stopped or overloaded broker, or a network that drops packets",
      },
    );
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
    this.failCause = cause ?? this.closeReason;
    const wasOpen = this.#open;
    this.#open = false;
    this.#watch.stop();
    this.#closed.reject(wasOpen ? this.closeReason : cause ?? this.closeReason);
    const error = this.#closeError();
    const queue = this.#kafkajs.requestQueue;
    queue.rejectAll(error);
    queue.destroy();
    for (const reject of this.#unwritten) reject(error);
    this.#unwritten.clear();
    this.#writer?.stop();
    this.#socket?.destroy();
    this.#onConnect();
    this.#kafkajs.disconnect().catch((failure: unknown) => {
      this.#options.log.debug(`kafkajs could not end the connection to ${this.broker}: ${String(failure)}`);
    });
    for (const callback of this.#closeCallbacks) callback(error);
    this.#closeCallbacks.length = 0;
  }

  #lostError(cause: unknown): RequestError {
    const code = (cause as NodeJS.ErrnoException | null)?.code ?? (cause === null ? "closed" : "bad-answer");
    const isFirst = this.#open && this.#answersCount === 0 && this.inFlightCount > 0;
    const closed = isFirst ? "closed the connection at the first request" : "closed the connection";
    const how = cause === null ? closed : `is lost: ${(cause as Error).message}`;
    const hint = isFirst && this.#options.login === null
      ? "The listener may want SASL: set sasl.enabled = true, sasl.mechanism, sasl.username and sasl.password"
      : null;
    return new RequestError(code, `Broker "${this.broker}" ${how}`, {
      broker: this.broker,
      hint,
      cause: cause ?? undefined,
    });
  }
}

const EMPTY = Buffer.alloc(0);
