import type { Log } from "../telemetry/log.ts";

/** The part of kafkajs' RequestQueue that holds requests back while a broker asks for that. */
export interface ThrottledQueue {
  readonly pending: { readonly length: number };
  /** Milliseconds since the epoch; -1 when never throttled. */
  readonly throttledUntil: number;
  throttleCheckTimeoutId: ReturnType<typeof setTimeout> | null;
  checkPendingRequests(): void;
  scheduleCheckPendingRequests(): void;
}

const THROTTLE_CHECK_MS_MIN = 10;

/**
 * kafkajs 2.2.4 arms a timer after every answer, also when nothing is held back, with a delay that is negative (-1 - now), and its
 * callback arms the next: a 1 ms timer loop for the life of each connection, and a warning from the runtime. Throws when the queue is not
 * the one that this was written for.
 */
export function repairThrottleTimer(queue: ThrottledQueue): void {
  if (
    typeof queue.scheduleCheckPendingRequests !== "function" ||
    typeof queue.checkPendingRequests !== "function"
  ) {
    throw new Error("kafkajs is not the version that connection.ts was written for (2.2.4)");
  }
  queue.scheduleCheckPendingRequests = () => {
    if (queue.throttleCheckTimeoutId !== null || queue.pending.length === 0) return;
    queue.throttleCheckTimeoutId = setTimeout(() => {
      queue.throttleCheckTimeoutId = null;
      queue.checkPendingRequests();
    }, Math.max(queue.throttledUntil - Date.now(), THROTTLE_CHECK_MS_MIN));
  };
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
