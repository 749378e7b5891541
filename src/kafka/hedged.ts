/**
 * Tries candidates until one succeeds: the next one is started when the one before has failed, or has not answered after `hedgeMs` (it
 * may still win). Rejects with the first error when all have failed, and with `signal`'s reason when it aborts. What loses is left to itself.
 */
export function firstSuccess<C, T>(
  candidates: readonly C[],
  hedgeMs: number,
  attempt: (candidate: C) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let started = 0;
    let failed = 0;
    let firstError: unknown = null;
    let timer: ReturnType<typeof setTimeout> | null = null;
    let settled = false;
    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      if (timer !== null) clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      return true;
    };
    const onAbort = () => {
      if (settle()) reject(signal.reason as Error);
    };
    const startNext = () => {
      if (timer !== null) clearTimeout(timer);
      timer = null;
      if (settled || started === candidates.length) return;
      const candidate = candidates[started++]!;
      if (started < candidates.length) timer = setTimeout(startNext, hedgeMs);
      attempt(candidate).then((value) => {
        if (settle()) resolve(value);
      }, (error: unknown) => {
        firstError ??= error;
        failed++;
        if (failed < candidates.length) startNext();
        else if (settle()) reject(firstError as Error);
      });
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort);
    startNext();
  });
}
