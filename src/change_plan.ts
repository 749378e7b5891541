import type { Config, SinkConfig, SourceConfig } from "./config/config.ts";

/** What of a configuration tells how its sources are read. */
export interface SourceKinds {
  /** Its bytes cannot be read again: all its sinks share one reader for ever. */
  readonly isPipe: (source: SourceConfig) => boolean;
  /** It reads files when its own positions are known: by a reader of its own. */
  readonly isLate: (sink: SinkConfig) => boolean;
}

/** A source with the sinks that one reader of it feeds. */
export interface SourceUnit {
  /** The source's name; with the sink's, where that has a reader of its own. */
  readonly key: string;
  readonly source: SourceConfig;
  /** Names, at least one, in the order of the configuration. */
  readonly sinks: readonly string[];
  readonly isPipe: boolean;
  readonly isLate: boolean;
}

/** Names by what becomes of them, each list in the order of the configurations. */
export interface ComponentChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Their table, or what they depend on, has changed: ended, and started anew. */
  readonly restarted: readonly string[];
  /** They go on untouched. */
  readonly kept: readonly string[];
}

/** What has to be done for one configuration to take the place of another. */
export interface ChangePlan {
  /** `inputs` are no matter of the sink, but of the readers of its sources. */
  readonly sinks: ComponentChanges;
  readonly sources: ComponentChanges;
  /** Readers that go on as they are, by their keys. */
  readonly keptUnits: ReadonlySet<string>;
}

/** The readers that a configuration needs. A source that no sink reads has none. */
export function unitsOf(config: Config, { isPipe, isLate }: SourceKinds): SourceUnit[] {
  const units: SourceUnit[] = [];
  for (const source of config.sources) {
    const readers = config.sinks.filter(({ inputs }) => inputs.includes(source.name));
    const isOnce = isPipe(source);
    const shared = readers.filter((sink) => isOnce || !isLate(sink)).map(({ name }) => name);
    if (shared.length > 0) {
      units.push({ key: source.name, source, sinks: shared, isPipe: isOnce, isLate: false });
    }
    if (isOnce) continue;
    for (const { name } of readers.filter(isLate)) {
      units.push({ key: `${source.name}\u0000${name}`, source, sinks: [name], isPipe: false, isLate: true });
    }
  }
  return units;
}

/** Compares two configurations, every value of them, secrets too. */
export function planChange(from: Config, to: Config, kinds: SourceKinds): ChangePlan {
  const sinks = changesOf(from.sinks, to.sinks, (one, other) => isSameSink(one, other));
  const kept = new Set(sinks.kept);
  const before = new Map(unitsOf(from, kinds).map((unit) => [unit.key, unit]));
  const after = unitsOf(to, kinds);
  const keptUnits = new Set(
    after.filter((unit) => {
      const old = before.get(unit.key);
      return old !== undefined && isSameUnit(old, unit) && unit.sinks.every((name) => kept.has(name));
    }).map(({ key }) => key),
  );
  const changedSources = new Set(
    [...before.values(), ...after].filter(({ key }) => !keptUnits.has(key)).map(({ source }) => source.name),
  );
  const sources = changesOf(
    from.sources,
    to.sources,
    (one, other) => Bun.deepEquals(one, other, true) && !changedSources.has(one.name),
  );
  return { sinks, sources, keptUnits };
}

/** Nothing of the sources and sinks has to be done. */
export function isNoChange({ sinks, sources }: ChangePlan): boolean {
  return [sinks, sources].every(({ added, removed, restarted }) =>
    added.length + removed.length + restarted.length === 0
  );
}

/** The same sink, whatever it reads. */
export function isSameSink(one: SinkConfig, other: SinkConfig): boolean {
  return Bun.deepEquals({ ...one, inputs: [] }, { ...other, inputs: [] }, true);
}

/** The same reader of the same source for sinks of the same names. */
export function isSameUnit(one: SourceUnit, other: SourceUnit): boolean {
  return one.key === other.key && Bun.deepEquals(one.source, other.source, true) &&
    Bun.deepEquals([...one.sinks].sort(), [...other.sinks].sort(), true);
}

interface Named {
  readonly name: string;
}

function changesOf<T extends Named>(
  from: readonly T[],
  to: readonly T[],
  isSame: (one: T, other: T) => boolean,
): ComponentChanges {
  const before = new Map(from.map((each) => [each.name, each]));
  const names = new Set(to.map(({ name }) => name));
  const isKept = (each: T) => before.has(each.name) && isSame(before.get(each.name)!, each);
  return {
    added: to.filter(({ name }) => !before.has(name)).map(({ name }) => name),
    removed: from.filter(({ name }) => !names.has(name)).map(({ name }) => name),
    restarted: to.filter((each) => before.has(each.name) && !isKept(each)).map(({ name }) => name),
    kept: to.filter(isKept).map(({ name }) => name),
  };
}
