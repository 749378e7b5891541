import type { TlsConfig } from "../config/config_security.ts";
import type { Log } from "../telemetry/log.ts";
import type { RequestError } from "./errors.ts";
import type { Login } from "./login/login.ts";
import type { SocketBuffers } from "./socket_buffers.ts";
import type { SeenCertificate } from "./tls/seen_certificate.ts";

export interface BrokerConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly clientId: string;
  readonly tls: TlsConfig | null;
  /** Shared by the connections of a sink; null: without SASL. */
  readonly login: Login | null;
  /** For each address: TCP and TLS together; then again for the first exchange and for authentication. */
  readonly connectTimeoutMs: number;
  /** No bytes in either direction for this long while an answer is awaited: the peer is dead, the connection is closed. */
  readonly socketTimeoutMs: number;
  readonly log: Log;
  /** Where the address did not come from the cluster, its canonical name is looked up and takes the host's place. */
  readonly isCanonical?: boolean;
  /** Left out: the system's sizes. */
  readonly socketBuffers?: SocketBuffers;
  /** Ends the attempt; has no effect once the connection is open. */
  readonly signal?: AbortSignal;
  /** The address came from the cluster (for the hint when it can't be reached). */
  readonly advertised?: boolean;
  /** Told of the certificates that a connection with TLS rests on: those of files before it is tried, the broker's when it has shown it. */
  readonly onCertificates?: (seen: readonly SeenCertificate[]) => void;
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
  /** Level of a feature that the cluster had agreed on when this was opened (KIP-584); 0: none. */
  featureLevel(name: string): number;
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
  /** Requests are held back until then, by the clock of `performance.now()`; in the past: they are not. */
  readonly throttledUntilMs: number;
  /** Holds back further requests for this long, as the broker asked in an answer (KIP-219); 0 takes nothing back that was asked before. */
  throttle(throttleMs: number): void;
  /** Called once, when the connection is closed for whatever reason; at the next microtask when it is closed already. */
  onClose(callback: (error: RequestError) => void): void;
  /** At once; requests that wait reject with "closed". */
  close(): void;
}
