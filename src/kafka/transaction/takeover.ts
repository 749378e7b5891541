import type { PositionMarker } from "./position_records.ts";

/** The sink must not go on, and a restart by itself changes nothing; the message says why. */
export class TransactionStop extends Error {
  override readonly name = "TransactionStop";
}

/** What a process knows of the markers that it has written itself. */
export interface OwnMarkers {
  readonly run: string;
  /** Number of the last transaction that was committed for certain; 0: none. */
  readonly committed: number;
  /** The marker that was there when the process started; null: none. */
  readonly before: PositionMarker | null;
}

/**
 * What the newest committed marker says, when nothing is open any more.
 *
 * - aborted: the last transaction that is known to be committed is the newest.
 * - committed: the one after it is.
 * - other: another process has committed since.
 * - lost: there is none, although there was one.
 */
export function verdictOn(
  marker: PositionMarker | null,
  { run, committed, before }: OwnMarkers,
): "aborted" | "committed" | "other" | "lost" {
  if (marker !== null && marker.run === run) {
    if (marker.number === committed + 1) return "committed";
    return marker.number === committed ? "aborted" : "other";
  }
  if (committed === 0) {
    const isSame = marker?.run === before?.run && marker?.number === before?.number;
    if (isSame) return "aborted";
  }
  return marker === null ? "lost" : "other";
}

/** For messages. */
export function describeMarker({ host, run, number }: PositionMarker): string {
  return `transaction ${number} of run ${run.slice(0, 8)} on host "${host}"`;
}
