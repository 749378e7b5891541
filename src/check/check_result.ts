/** What a check found. "skipped": it could not be looked at, and the message says why. Only "failed" ends with an exit code other than 0. */
export type CheckStatus = "ok" | "warning" | "failed" | "skipped";

/** One line of `shipper check`; the form of docs/checking.md, where it is printed for programs. */
export interface CheckResult {
  /** Which check: short and stable, for example "broker.connection". */
  readonly check: string;
  /** Name of the sink that it is about; null for none. */
  readonly sink: string | null;
  /** The same of a source. */
  readonly source: string | null;
  /** What was looked at: a broker's address, a topic, a path or glob; null for the machine as a whole. */
  readonly target: string | null;
  readonly status: CheckStatus;
  /** Tells reasons apart for programs ("ECONNREFUSED", "expires-soon"); null with "ok". */
  readonly code: string | null;
  /** One sentence without a full stop. Holds no secret. */
  readonly message: string;
  /** What to do; null with nothing to say. */
  readonly hint: string | null;
}

/** Where a check belongs. */
export type CheckPlace = Pick<CheckResult, "check" | "sink" | "source" | "target">;

/** A place: `{ sink: "events", target: "b:9092" }`. */
export function placeOf(check: string, place: Partial<Omit<CheckPlace, "check">> = {}): CheckPlace {
  return { check, sink: place.sink ?? null, source: place.source ?? null, target: place.target ?? null };
}

export function passed(place: CheckPlace, message: string): CheckResult {
  return { ...place, status: "ok", code: null, message, hint: null };
}

/** Anything but "ok". */
export function found(
  status: Exclude<CheckStatus, "ok">,
  place: CheckPlace,
  code: string,
  message: string,
  hint: string | null = null,
): CheckResult {
  return { ...place, status, code, message, hint };
}

/** Some of many names, quoted: the first `NAMES_MAX`, and how many more. */
export function someOf(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_MAX).map((each) => `"${each}"`).join(", ");
  return names.length > NAMES_MAX ? `${shown} and ${names.length - NAMES_MAX} more` : shown;
}

/** Names that one line holds at most. */
export const NAMES_MAX = 5;
