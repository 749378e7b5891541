import { errnoName, StartError } from "../errors.ts";
import { KafkaError } from "../kafka/errors.ts";
import { type CheckPlace, type CheckResult, found } from "./check_result.ts";

/** A check, or several that share what they ask for. */
export interface Check {
  /** What is said in the place of its results when it fails as a whole. */
  readonly place: CheckPlace;
  /** Later its results are not waited for. */
  readonly timeoutMs: number;
  /** What is being tried: "look at the files of ..."; in messages behind "Cannot". */
  readonly what: string;
  /** `signal`: its time is up. May reject: that is its result. */
  readonly run: (signal: AbortSignal) => Promise<readonly CheckResult[]>;
}

/** The results of a check, whatever becomes of it. Never rejects. */
export async function runCheck(check: Check): Promise<readonly CheckResult[]> {
  const { place, timeoutMs, what } = check;
  const abort = new AbortController();
  const late = Promise.withResolvers<readonly CheckResult[]>();
  const timer = setTimeout(() => {
    late.resolve([
      found(
        "failed",
        place,
        "timeout",
        `Cannot ${what}: nothing came of it within ${timeoutMs / 1000} s`,
        "Look for a broker, a disk or a network file system that does not answer",
      ),
    ]);
    abort.abort();
  }, timeoutMs);
  try {
    return await Promise.race([check.run(abort.signal), late.promise]);
  } catch (error) {
    return [failureOf(place, what, error)];
  } finally {
    clearTimeout(timer);
  }
}

/** What an error says, as a result. */
export function failureOf(place: CheckPlace, what: string, error: unknown): CheckResult {
  if (error instanceof KafkaError || error instanceof StartError) {
    return found("failed", place, error.code, error.message, error.hint);
  }
  const code = errnoName(error);
  const state = code === "UNKNOWN" ? String((error as Error | null)?.message ?? error) : code;
  return found("failed", place, code, `Cannot ${what} (${state})`);
}
