import { expect, test } from "bun:test";
import { type BufferProblem, WalkProblems } from "../../src/buffer/walk_problems.ts";

const damage = (byte: number) => ({ file: "a", byte, cause: "x" });
const missing = { from: 1, to: 3, count: 2 };

test("what is missing belongs to the damage in front of it, or to none", () => {
  const told: BufferProblem[] = [];
  const problems = new WalkProblems((problem) => void told.push(problem));
  problems.damaged(damage(1));
  problems.flush();
  problems.damaged(damage(2));
  problems.damaged(damage(3));
  expect(problems.hasPending).toBe(true);
  problems.missing(missing);
  problems.missing(missing);
  problems.flush();
  expect(told).toEqual([
    { ...damage(1), missing: null },
    { ...damage(2), missing: null },
    { ...damage(3), missing },
    { file: null, byte: 0, cause: "no file holds them", missing },
  ]);
});
