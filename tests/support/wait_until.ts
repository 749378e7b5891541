const POLL_MS = 10;

/**
 * Waits until `condition` gives something truthy, and gives it. Rejects after `timeoutMs` with `what`, and with the last error of a
 * condition that throws.
 */
export async function waitUntil<T>(
  what: string,
  condition: () => T | Promise<T>,
  options: { timeoutMs?: number; pollMs?: number } = {},
): Promise<NonNullable<T>> {
  const timeoutMs = options.timeoutMs ?? 30_000;
  const deadlineMs = performance.now() + timeoutMs;
  let lastError: unknown = null;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value as NonNullable<T>;
      lastError = null;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() > deadlineMs) {
      const cause = lastError === null ? "" : `: ${lastError}`;
      throw new Error(`Waited ${timeoutMs} ms in vain until ${what}${cause}`);
    }
    await Bun.sleep(options.pollMs ?? POLL_MS);
  }
}
