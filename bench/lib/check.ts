/** A figure beside what it has to reach. */
export interface Check {
  readonly what: string;
  readonly value: number;
  readonly bound: number;
  readonly wanted: "at least" | "at most";
  readonly unit: string;
  readonly isMet: boolean;
}

/** The figure must not be below `bound`. */
export function atLeast(what: string, value: number, bound: number, unit = ""): Check {
  return { what, value, bound, wanted: "at least", unit, isMet: value >= bound };
}

/** The figure must not be above `bound`. */
export function atMost(what: string, value: number, bound: number, unit = ""): Check {
  return { what, value, bound, wanted: "at most", unit, isMet: value <= bound };
}

/** For example "lz4: lines/s against kcat: 1.31, wanted at least 1.1: ok". A figure that is not a number is missed. */
export function renderCheck(check: Check): string {
  const unit = check.unit === "" ? "" : ` ${check.unit}`;
  const value = Number(check.value.toPrecision(3));
  return `${check.what}: ${value}${unit}, wanted ${check.wanted} ${check.bound}${unit}: ${
    check.isMet ? "ok" : "missed"
  }`;
}
