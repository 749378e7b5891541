/** Resolves after `pauseMs`, or at once when `signal` aborts. With `keepsAlive` false the process may end meanwhile. */
export function pause(pauseMs: number, signal: AbortSignal, keepsAlive = true): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, pauseMs);
    if (!keepsAlive) timer.unref();
    if (signal.aborted) done();
    else signal.addEventListener("abort", done, { once: true });
  });
}
