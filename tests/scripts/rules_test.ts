import { describe, expect, test } from "bun:test";
import { findCycles, forbiddenGlobals, forbiddenImports } from "../../scripts/lib/import_rules.ts";
import { importsOf } from "../../scripts/lib/imports.ts";
import { barrel, longFile, longFunctions } from "../../scripts/lib/size_rules.ts";
import { strayText } from "../../scripts/lib/text_rules.ts";

describe("imports", () => {
  const forbidden = (path: string, text: string) => forbiddenImports(importsOf(path, text));

  test("are found over several lines, with their kind and place", () => {
    const text =
      'const x = "a";\nimport {\n  a,\n  type B,\n} from "./b.ts";\nimport type { C } from "../c/d.ts";\nimport "node:fs";\n' +
      'export const from = "./none.ts";\nconst lazy = await import("./e.ts");\n';
    expect(importsOf("src/x/a.ts", text).map(({ to, isTypeOnly, isLocal }) => [to, isTypeOnly, isLocal]))
      .toEqual([
        ["src/x/b.ts", false, true],
        ["src/c/d.ts", true, true],
        ["node:fs", false, false],
        ["src/x/e.ts", false, true],
      ]);
    expect(importsOf("src/x/a.ts", text)[1]!.line).toBe(6);
  });

  test("go down the pipeline only", () => {
    expect(forbidden("src/source/a.ts", 'import { b } from "../event/stream.ts";')).toEqual([]);
    expect(forbidden("src/source/a.ts", 'import type { b } from "../config/config.ts";')).toEqual([]);
    expect(forbidden("src/source/a.ts", 'import { b } from "../config/config.ts";')).toHaveLength(1);
    expect(forbidden("src/source/a.ts", 'import { b } from "../kafka/producer.ts";')).toHaveLength(1);
    expect(forbidden("src/shape/a.ts", 'import type { b } from "../decode/lines.ts";')).toEqual([]);
    expect(forbidden("src/shape/a.ts", 'import { b } from "../decode/lines.ts";')).toHaveLength(1);
    expect(forbidden("src/kafka/protocol/a.ts", 'import { b } from "../../event/stream.ts";')).toHaveLength(
      1,
    );
    expect(forbidden("src/sink/a.ts", 'import { b } from "../pipeline.ts";').length).toBeGreaterThan(0);
    expect(forbidden("src/cli/a.ts", 'import { b } from "../pipeline.ts";')).toEqual([]);
  });

  test("of the Kafka library stand in one place", () => {
    expect(forbidden("src/kafka/connection.ts", 'import kafka from "kafkajs";')).toEqual([]);
    expect(forbidden("src/kafka/producer.ts", 'import kafka from "kafkajs/src/network/connection";'))
      .toHaveLength(1);
  });

  test("that go round in a circle are shown, but not those of types", () => {
    const circle = (kind: string) => [
      ...importsOf("src/a.ts", 'import { b } from "./b.ts";'),
      ...importsOf("src/b.ts", 'import { c } from "./c.ts";'),
      ...importsOf("src/c.ts", `import ${kind} { a } from "./a.ts";`),
    ];
    expect(findCycles(circle(""))).toEqual(["Import cycle: src/a.ts -> src/b.ts -> src/c.ts -> src/a.ts"]);
    expect(findCycles(circle("type"))).toEqual([]);
  });

  test("environment and exit belong to src/cli", () => {
    expect(forbiddenGlobals("src/source/a.ts", "// process.env is not read\nconst x = process.env.HOME;"))
      .toEqual([
        "src/source/a.ts:2: uses process.env. Only main.ts and src/cli do",
      ]);
    expect(forbiddenGlobals("src/cli/a.ts", "process.exit(1);")).toEqual([]);
  });
});

describe("sizes", () => {
  const body = (lines: number) => "  x();\n".repeat(lines);

  test("files over 400 lines", () => {
    expect(longFile("a.ts", "x\n".repeat(400))).toEqual([]);
    expect(longFile("a.ts", "x\n".repeat(401))).toHaveLength(1);
  });

  test("functions, methods and arrows over 70 lines; groups of tests may be longer", () => {
    for (
      const head of ["function f() {", "const f = (a: string): Promise<void> => {", "test('x', async () => {"]
    ) {
      expect(longFunctions("a.ts", `${head}\n${body(68)}}\n`)).toEqual([]);
      expect(longFunctions("a.ts", `${head}\n${body(69)}}\n`)).toEqual([
        expect.stringContaining("a.ts:1: a function of 71 lines"),
      ]);
    }
    expect(
      longFunctions("a.ts", `class A {\n  async #m<T>(\n    a: T,\n  ): Promise<T> {\n${body(80)}  }\n}\n`),
    ).toHaveLength(1);
    expect(longFunctions("a.ts", `describe("x", () => {\n${body(100)}});\n`)).toEqual([]);
    expect(longFunctions("a.ts", `class A {\n${body(100)}}\n`)).toEqual([]);
  });

  test("files that only pass on", () => {
    expect(barrel("a.ts", '/** All. */\nexport * from "./b.ts";\nexport { c } from "./c.ts";\n'))
      .toHaveLength(1);
    expect(barrel("a.ts", 'export { c } from "./c.ts";\nexport const d = 1;\n')).toEqual([]);
  });
});

test("stray text: unfinished marks, registries, paths of one machine", () => {
  const mark = "TO" + "DO";
  expect(strayText("a.ts", `// ${mark}: later`)).toEqual([`a.ts:1: a mark of unfinished work: "${mark}"`]);
  expect(strayText("a.md", "https://registry.npmjs" + ".org/x")).toHaveLength(1);
  expect(strayText("a.md", "see /wor" + "k/main/x and ./work/x")).toHaveLength(1);
  expect(strayText("a.md", "/home/you/x, ~/work/x, /var/lib/shipper, src/work/x, $HOME/work/x")).toEqual([]);
  expect(strayText("a.ts", "export " + "default 1;")).toHaveLength(1);
});
