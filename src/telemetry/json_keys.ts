/** Maps by reason or cause: their keys are names, not fields. */
const NAME_MAPS: ReadonlySet<string> = new Set([
  "dropped",
  "deadLettered",
  "dead_lettered",
  "lost",
  "lostBytes",
  "lost_bytes",
]);

/** Names of fields as they are shown outside: `inFlight` becomes `in_flight`, at any depth. */
export function snakeCaseKeys(value: unknown): unknown {
  return renameKeys(value, (key) => key.replace(/[A-Z]/gu, (letter) => `_${letter.toLowerCase()}`));
}

/** The way back. */
export function camelCaseKeys(value: unknown): unknown {
  return renameKeys(value, (key) => key.replace(/_([a-z])/gu, (_, letter: string) => letter.toUpperCase()));
}

function renameKeys(value: unknown, rename: (key: string) => string): unknown {
  if (Array.isArray(value)) return value.map((each) => renameKeys(each, rename));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      rename(key),
      NAME_MAPS.has(key) ? each : renameKeys(each, rename),
    ]),
  );
}
