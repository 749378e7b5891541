/** The middle value; the mean of the two middle ones of an even count. NaN without values. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** Linear between the two nearest ranks, as numpy does it. `percent` 0 to 100; NaN without values. */
export function percentile(values: readonly number[], percent: number): number {
  if (values.length === 0) return NaN;
  const sorted = Float64Array.from(values).sort();
  const rank = (sorted.length - 1) * percent / 100;
  const below = Math.floor(rank);
  const above = Math.min(below + 1, sorted.length - 1);
  const value = sorted[below]! + (sorted[above]! - sorted[below]!) * (rank - below);
  return Math.min(value, sorted[above]!); // rounding may carry it past its neighbour
}

/** What one measurement of both sides of a pair gave, round by round. */
export interface PairedRatio {
  /** Median of the ratios within each round: a slow moment of the machine hits both sides of a round and cancels out. */
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Ratios of `ours[i] / theirs[i]`. Throws when the rounds do not pair up. */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): PairedRatio {
  if (ours.length !== theirs.length || ours.length === 0) {
    throw new Error(`Cannot pair ${ours.length} runs with ${theirs.length}`);
  }
  const ratios = ours.map((value, round) => value / theirs[round]!);
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
}
