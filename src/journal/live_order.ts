/**
 * Moves what is under `ids` in front of the first entry of the map that is under one of `places`; nothing where there is none. The order of
 * live intents is the one in which their batches go out: what takes the place of a batch goes out before the batches behind that.
 */
export function moveInFront<V>(
  map: Map<number, V>,
  ids: readonly number[],
  places: readonly number[],
): void {
  const moved = new Set(ids);
  const wanted = new Set(places);
  const behind: [number, V][] = [];
  let isFound = false;
  for (const [id, value] of map) {
    isFound ||= wanted.has(id);
    if (isFound && !moved.has(id)) behind.push([id, value]);
  }
  for (const [id, value] of behind) {
    map.delete(id);
    map.set(id, value);
  }
}
