import { expect, test } from "bun:test";
import fc from "fast-check";
import { isNoChange, planChange, type SourceKinds, unitsOf } from "../src/change_plan.ts";
import type { Config, SinkConfig, SourceConfig } from "../src/config/config.ts";

// A configuration as far as a plan looks at it: tables that are the same or not, and who reads whom.

const NAMES = ["a", "b", "c"];
/** "stdin" is a pipe that is always there, as a change of that is refused. */
const PIPE = "pipe";

const kinds: SourceKinds = {
  isPipe: ({ type }) => type === "stdin",
  isLate: (sink) => sink.type === "kafka" && sink.delivery === "transactional",
};

interface Text {
  /** By name; the number stands for what is in its table. */
  readonly sources: Readonly<Record<string, number>>;
  readonly sinks: Readonly<Record<string, { table: number; isLate: boolean; inputs: readonly string[] }>>;
}

const text: fc.Arbitrary<Text> = fc.record({
  sources: fc.dictionary(fc.constantFrom(...NAMES), fc.nat(1), { noNullPrototype: true }),
  sinks: fc.dictionary(
    fc.constantFrom(...NAMES),
    fc.record({
      table: fc.nat(1),
      isLate: fc.boolean(),
      inputs: fc.uniqueArray(fc.constantFrom(...NAMES, PIPE), { minLength: 1 }),
    }),
    { noNullPrototype: true },
  ),
});

function configOf({ sources, sinks }: Text): Config {
  const files = Object.entries(sources).map(([name, table]) => ({
    type: "file",
    name,
    include: [`${table}`],
  }));
  const all = [...files, { type: "stdin", name: PIPE, maxLineBytes: 1 }];
  const read = new Set(Object.values(sinks).flatMap(({ inputs }) => inputs));
  return {
    sources: all.filter(({ name }) => read.has(name)) as unknown as SourceConfig[],
    sinks: Object.entries(sinks).map(([name, { table, isLate, inputs }]) => ({
      type: "kafka",
      name,
      delivery: isLate ? "transactional" : "exactly_once",
      sasl: { password: `${table}` },
      inputs: inputs.filter((input) => all.some((source) => source.name === input)),
    })) as unknown as SinkConfig[],
  } as unknown as Config;
}

const withoutInputs = (sinks: readonly SinkConfig[], name: string) => ({
  ...sinks.find((each) => each.name === name)!,
  inputs: [],
});

test("a plan that is carried out gives the parts of the new configuration, and touches nothing else", () => {
  fc.assert(
    fc.property(text, text, (one, other) => {
      const [from, to] = [configOf(one), configOf(other)];
      const { sinks, sources, keptUnits } = planChange(from, to, kinds);
      // Each sink is in one list, and has what the new configuration says afterwards.
      const after = new Set(from.sinks.map(({ name }) => name));
      for (const name of sinks.removed) expect(after.delete(name)).toBe(true);
      for (const name of sinks.added) {
        expect(after.has(name)).toBe(false);
        after.add(name);
      }
      expect([...after].sort()).toEqual(to.sinks.map(({ name }) => name).sort());
      for (const name of sinks.kept) {
        expect(withoutInputs(from.sinks, name)).toEqual(withoutInputs(to.sinks, name));
      }
      for (const name of sinks.restarted) {
        expect(withoutInputs(from.sinks, name)).not.toEqual(withoutInputs(to.sinks, name));
      }
      expect(sinks.added.length + sinks.kept.length + sinks.restarted.length).toBe(to.sinks.length);
      // Readers: those that stay are what is needed; all others are stopped, and those that are needed started.
      const before = new Map(unitsOf(from, kinds).map((unit) => [unit.key, unit]));
      const needed = new Map(unitsOf(to, kinds).map((unit) => [unit.key, unit]));
      for (const key of keptUnits) {
        const [old, now] = [before.get(key)!, needed.get(key)!];
        expect(old.source).toEqual(now.source);
        expect([...old.sinks].sort()).toEqual([...now.sinks].sort());
        for (const sink of now.sinks) expect(sinks.kept).toContain(sink);
      }
      for (const [key, unit] of needed) {
        const old = before.get(key);
        const isSame = old !== undefined && Bun.deepEquals(old.source, unit.source) &&
          Bun.deepEquals([...old.sinks].sort(), [...unit.sinks].sort()) &&
          unit.sinks.every((sink) => sinks.kept.includes(sink));
        expect(keptUnits.has(key)).toBe(isSame);
      }
      for (const name of sources.kept) {
        const keys = [...before.keys(), ...needed.keys()].filter((key) => key.split("\u0000")[0] === name);
        for (const key of keys) expect(keptUnits.has(key)).toBe(true);
      }
      expect(isNoChange(planChange(to, to, kinds))).toBe(true);
    }),
    { numRuns: Number(process.env.SHIPPER_MODEL_RUNS ?? 500) },
  );
});

test("every pair of a source and a sink that reads it is in one reader", () => {
  fc.assert(fc.property(text, (one) => {
    const config = configOf(one);
    const pairs = unitsOf(config, kinds).flatMap(({ source, sinks }) =>
      sinks.map((sink) => `${source.name} ${sink}`)
    );
    const expected = config.sinks.flatMap(({ name, inputs }) =>
      config.sources.filter((source) => inputs.includes(source.name)).map((source) =>
        `${source.name} ${name}`
      )
    );
    expect(pairs.sort()).toEqual(expected.sort());
  }));
});

test("a secret is a change, inputs alone are none of the sink", () => {
  const of = (table: number, inputs: string[]) =>
    configOf({ sources: { a: 0, b: 0 }, sinks: { c: { table, isLate: false, inputs } } });
  expect(planChange(of(0, ["a"]), of(1, ["a"]), kinds).sinks.restarted).toEqual(["c"]);
  const plan = planChange(of(0, ["a"]), of(0, ["a", "b"]), kinds);
  expect(plan.sinks.kept).toEqual(["c"]);
  expect(plan.sources).toEqual({ added: ["b"], removed: [], restarted: [], kept: ["a"] });
  expect([...plan.keptUnits]).toEqual(["a"]);
});
