import { unlessAborted } from "../cluster_requests.ts";
import { RequestError } from "../errors.ts";
import { ErrorCode } from "../protocol/error_codes.ts";

/** The coordinator is still ending the transaction before. */
export const CONCURRENT_PAUSE_MS = 20;
const CONCURRENT_WAIT_MAX_MS = 10_000;

/** The coordinator, or a leader for it, asks to wait until the transaction before is ended. */
export function isConcurrent(error: unknown): boolean {
  return error instanceof RequestError && error.errorCode === ErrorCode.CONCURRENT_TRANSACTIONS;
}

/** Tries again while the transaction before is being ended, for some seconds. Rejects as `work` does, or when `signal` aborts. */
export async function whileConcurrent<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const deadlineMs = performance.now() + CONCURRENT_WAIT_MAX_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isConcurrent(error) || performance.now() > deadlineMs) throw error;
    }
    await unlessAborted(Bun.sleep(CONCURRENT_PAUSE_MS), signal);
  }
}
