/**
 * The parts of kafkajs 2.2.4 that `connection.ts` uses and that its own types leave out. The version is pinned exactly; the tests of
 * `connection.ts` fail when one of them is missing.
 */
declare module "kafkajs/src/network/connection" {
  import type { Socket } from "node:net";

  export interface QueuedAnswer {
    readonly payload: Buffer | null;
  }

  export interface QueueEntry {
    apiKey: number;
    apiName: string;
    apiVersion: number;
    correlationId: number;
    /** Ours: when it was given to the socket, by the clock of `performance.now()`; kafkajs' own requests have none. */
    sentMs?: number;
    resolve(answer: QueuedAnswer): void;
    reject(error: Error): void;
  }

  export interface SocketRequest {
    readonly entry: QueueEntry;
    readonly requestTimeout: number;
  }

  export interface RequestQueue {
    readonly inflight: Map<number, SocketRequest>;
    readonly pending: SocketRequest[];
    throttleCheckTimeoutId: ReturnType<typeof setTimeout> | null;
    push(request: {
      entry: QueueEntry;
      expectResponse: boolean;
      requestTimeout: number;
      sendRequest(): void;
    }): void;
    fulfillRequest(answer: { correlationId: number; payload: Buffer; size: number }): void;
    rejectAll(error: Error): void;
    canSendSocketRequestImmediately(): boolean;
    checkPendingRequests(): void;
    scheduleCheckPendingRequests(): void;
    destroy(): void;
  }

  export interface KafkaJsLogger {
    namespace(name: string): KafkaJsLogger;
    error(message: string): void;
    warn(message: string): void;
    info(message: string): void;
    debug(message: string): void;
  }

  export interface KafkaJsProtocol {
    readonly request: { readonly apiKey: number };
    readonly response: {
      decode(payload: Buffer): Promise<unknown>;
      parse(decoded: unknown): Promise<unknown>;
    };
  }

  export default class Connection {
    constructor(options: {
      host: string;
      port: number;
      logger: KafkaJsLogger;
      socketFactory(options: { onConnect(): void }): Socket;
      requestTimeout: number;
      ssl: object | null;
      sasl: object | null;
      clientId: string;
      connectionTimeout: number;
      enforceRequestTimeout: boolean;
    });
    readonly requestQueue: RequestQueue;
    /** Milliseconds until the broker wants to see the credentials again, as a `Long`; zero: never. */
    readonly sessionLifetime: { toString(): string };
    reauthenticationThreshold: number;
    processData(data: Buffer): void;
    send(protocol: KafkaJsProtocol): Promise<unknown>;
    connect(): Promise<unknown>;
    disconnect(): Promise<unknown>;
    authenticate(): Promise<void>;
    isAuthenticated(): boolean;
    setVersions(versions: Record<number, { minVersion: number; maxVersion: number }>): void;
    setSupportAuthenticationProtocol(supported: boolean): void;
    nextCorrelationId(): number;
  }
}

declare module "kafkajs/src/network/requestQueue" {
  export default class RequestQueue {
    canSendSocketRequestImmediately(): boolean;
  }
}
