/**
 * The candidate that was probably meant: the nearest by edit distance, if it is near enough to be a slip; else the only one that goes on
 * where the word ends, with a unit perhaps ("ignore_older" for "ignore_older_secs"); null otherwise.
 */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  const wanted = word.toLowerCase().slice(0, WORD_CHARACTERS_MAX);
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(wanted.length * 0.4)) + 1;
  const longer: string[] = [];
  for (const candidate of candidates) {
    if (wanted !== "" && candidate.toLowerCase().startsWith(`${wanted}_`)) longer.push(candidate);
    const distance = editDistance(wanted, candidate.toLowerCase(), bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best ?? (longer.length === 1 ? longer[0]! : null);
}

/** Longer words are cut: the work is quadratic, and no option is as long. */
const WORD_CHARACTERS_MAX = 64;

/**
 * Insertions, deletions, replacements and swaps of neighbours that turn one word into the other; at most
 * `limit`.
 */
export function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let distance = Math.min(previous[j]! + 1, current[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, beforePrevious[j - 2]! + 1);
      }
      current.push(distance);
    }
    beforePrevious = previous;
    previous = current;
  }
  return Math.min(limit, previous[b.length]!);
}
