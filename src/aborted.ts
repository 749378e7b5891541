import type { HealthFailure } from "./sink/sink.ts";

/** Resolves with false when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<false> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(false), { once: true });
    if (signal.aborted) resolve(false);
  });
}

/** A check that is still waiting for something when its time is over has failed, whatever it waits for. */
export function unlessAborted(
  check: Promise<HealthFailure | null>,
  signal: AbortSignal,
): Promise<HealthFailure | null> {
  const { promise, resolve, reject } = Promise.withResolvers<HealthFailure | null>();
  const onAbort = () =>
    resolve({
      code: "timeout",
      message: "Cannot tell whether it works: there was no answer in time",
      hint: "Look for a firewall that drops packets, or for a broker that is stopped or overloaded",
    });
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  check.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  return promise;
}
