import { describe, expect, test } from "bun:test";
import { OracleChecker, oracleLine, OracleWriter } from "../support/oracle.ts";

function written(count: number): { writer: OracleWriter; lines: string[] } {
  const writer = new OracleWriter("run1", "a.log");
  return { writer, lines: writer.lines(count).split("\n").slice(0, -1) };
}

function reportOf(writer: OracleWriter, lines: readonly (readonly [number, string])[]) {
  const checker = new OracleChecker("run1", [writer]);
  for (const [partition, line] of lines) checker.take(partition, line);
  return checker.report();
}

const CLEAN = { lostCount: 0, duplicatedCount: 0, outOfOrderCount: 0, foreignCount: 0, damagedCount: 0 };

describe("OracleChecker", () => {
  test("finds nothing where everything arrived in order within each partition", () => {
    const { writer, lines } = written(1_000);
    const split = lines.map((line, i) => [i % 3, line] as const).sort((a, b) => a[0] - b[0]);
    expect(reportOf(writer, split)).toMatchObject({ ...CLEAN, receivedCount: 1_000 });
  });

  test("names a lost line", () => {
    const { writer, lines } = written(10);
    const report = reportOf(writer, lines.filter((_, i) => i !== 4).map((line) => [0, line]));
    expect(report).toMatchObject({ ...CLEAN, lostCount: 1 });
    expect(report.examples).toEqual(["lost: run1 a.log 4"]);
  });

  test("counts a duplicate in another partition", () => {
    const { writer, lines } = written(3);
    expect(reportOf(writer, [...lines.map((line) => [0, line] as const), [1, lines[1]!]]))
      .toMatchObject({ ...CLEAN, duplicatedCount: 1 });
  });

  test("counts disorder within a partition only", () => {
    const { writer, lines } = written(3);
    const [a, b, c] = lines as [string, string, string];
    expect(reportOf(writer, [[0, b], [0, a], [0, c]])).toMatchObject({ ...CLEAN, outOfOrderCount: 1 });
    expect(reportOf(writer, [[0, b], [1, a], [0, c]])).toMatchObject(CLEAN);
  });

  test("tells damage from foreign lines", () => {
    const { writer, lines } = written(2);
    const flipped = lines[0]!.slice(0, -1) + "\u0000";
    const others = ["run2 a.log", "run1 b.log"].map((head) => {
      const [run, file] = head.split(" ") as [string, string];
      return [0, oracleLine(run, file, 0, "x")] as const;
    });
    const report = reportOf(writer, [
      [0, lines[0]!],
      [0, lines[1]!],
      [0, flipped],
      [0, "half a li"],
      ...others,
      [
        0,
        oracleLine("run1", "a.log", 2, "never written"),
      ],
    ]);
    expect(report).toMatchObject({ ...CLEAN, damagedCount: 2, foreignCount: 3 });
  });

  test("assertComplete throws on loss, and lets duplicates pass only when asked", () => {
    const { writer, lines } = written(2);
    const check = (sent: string[]) => {
      const checker = new OracleChecker("run1", [writer]);
      for (const line of sent) checker.take(0, line);
      return checker;
    };
    expect(() => check([lines[0]!]).assertComplete()).toThrow('"lostCount": 1');
    expect(() => check([...lines, lines[0]!]).assertComplete()).toThrow('"duplicatedCount": 1');
    expect(check([...lines, lines[0]!]).assertComplete({ duplicatesAllowed: true }).duplicatedCount).toBe(1);
  });
});

test("a writer makes the same lines for the same run and file, and others for others", () => {
  const lines = new OracleWriter("r", "f").lines(50);
  expect(new OracleWriter("r", "f").lines(50)).toBe(lines);
  expect(new OracleWriter("r", "g").lines(50)).not.toBe(lines);
  expect(new Set(lines.split("\n")).size).toBe(51);
});
