import type { RequestQueue } from "kafkajs/src/network/connection";
import type { Log } from "../telemetry/log.ts";
import type { AwaitedRequest } from "./request_watch.ts";

/** The part of kafkajs' RequestQueue that holds requests back while a broker asks for that. */
export interface ThrottledQueue {
  readonly pending: { readonly length: number };
  throttleCheckTimeoutId: ReturnType<typeof setTimeout> | null;
  canSendSocketRequestImmediately(): boolean;
  checkPendingRequests(): void;
  scheduleCheckPendingRequests(): void;
}

const THROTTLE_CHECK_MS_MIN = 10;

/**
 * kafkajs 2.2.4 arms a timer after every answer, also when nothing is held back, with a delay that is negative (-1 - now), and its
 * callback arms the next: a 1 ms timer loop for the life of each connection, and a warning from the runtime. It holds back by the wall clock: one that is
 * set back makes that hours. Here it goes by `untilMs`, of the clock of `performance.now()`. Throws when the queue is not the one that this was written
 * for.
 */
export function repairThrottling(queue: ThrottledQueue, untilMs: () => number): void {
  if (
    typeof queue.scheduleCheckPendingRequests !== "function" ||
    typeof queue.checkPendingRequests !== "function" ||
    typeof queue.canSendSocketRequestImmediately !== "function"
  ) {
    throw new Error("kafkajs is not the version that connection.ts was written for (2.2.4)");
  }
  queue.canSendSocketRequestImmediately = () => untilMs() <= performance.now();
  queue.scheduleCheckPendingRequests = () => {
    if (queue.throttleCheckTimeoutId !== null || queue.pending.length === 0) return;
    queue.throttleCheckTimeoutId = setTimeout(() => {
      queue.throttleCheckTimeoutId = null;
      queue.checkPendingRequests();
    }, Math.max(untilMs() - performance.now(), THROTTLE_CHECK_MS_MIN));
  };
}

/** Our requests that were sent and have no answer. */
export function* awaitedOf(queue: RequestQueue): Iterable<AwaitedRequest> {
  for (const { entry, requestTimeout } of queue.inflight.values()) {
    const { apiName, sentMs } = entry;
    if (sentMs !== undefined) yield { apiName, sentMs, timeoutMs: requestTimeout };
  }
}

export interface QuietLogger {
  namespace(name: string): QuietLogger;
  error(message: string): void;
  warn(message: string): void;
  info(message: string): void;
  debug(message: string): void;
}

/** What kafkajs says is for debugging; what operators need is in our errors. Its extra fields are dropped: they hold payloads. */
export function quietLogger(log: Log, broker: string): QuietLogger {
  const debug = (message: string) => log.debug(`kafkajs: ${message}`, { broker });
  const logger: QuietLogger = { namespace: () => logger, error: debug, warn: debug, info: debug, debug };
  return logger;
}
