/** Doubling needs no more steps than this to pass any maximum. */
const DOUBLINGS_MAX = 16;

/** Exponential back-off with jitter: between 50 and 100 % of min(intervalMs * 2^failures, maxIntervalMs). `random` is in [0, 1). */
export function backoffMs(
  failureCount: number,
  intervalMs: number,
  maxIntervalMs: number,
  random: number,
): number {
  const doublings = Math.min(Math.max(failureCount - 1, 0), DOUBLINGS_MAX);
  const fullMs = Math.min(intervalMs * 2 ** doublings, maxIntervalMs);
  return fullMs * (0.5 + random / 2);
}
