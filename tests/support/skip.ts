import { test } from "bun:test";

/**
 * Registers a test that needs something which not every machine has. Where it is missing the test is skipped, and scripts/test prints the
 * reason; only reasons listed in scripts/allowed_skips.txt may be given.
 */
export function testIf(
  condition: boolean,
  reasonWhenSkipped: string,
  name: string,
  run: () => void | Promise<void>,
  timeoutMs?: number,
): void {
  if (condition) test(name, run, timeoutMs);
  else test.skip(`${name} [skipped: ${reasonWhenSkipped}]`, run);
}
