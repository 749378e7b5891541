import { expect, test } from "bun:test";
import { judgeSkips, parseJunit, summaryLine } from "../../scripts/lib/test_case.ts";

const REPORT = `<?xml version="1.0"?>
<testsuites name="bun test" tests="4">
  <testsuite name="tests/a_test.ts" file="tests/a_test.ts">
    <testsuite name="g &lt;x&gt;">
      <testcase name="in &quot;g&quot;" classname="g &lt;x&gt;" time="0.25" file="tests/a_test.ts" line="2" />
    </testsuite>
    <testcase name="fails" classname="" time="0.000151" file="tests/a_test.ts" line="3">
      <failure type="AssertionError" message="expected&#10;&#10;1 &amp; 2">long text</failure>
    </testcase>
    <testcase name="root [skipped: needs root]" classname="" time="0" file="tests/a_test.ts">
      <skipped />
    </testcase>
    <testcase name="bare" classname="" time="0" file="tests/a_test.ts">
      <skipped message="TO DO" />
    </testcase>
  </testsuite>
</testsuites>`;

test("a report of bun test is read: names, groups, times, failures, skips", () => {
  expect(parseJunit(REPORT)).toEqual([
    { file: "tests/a_test.ts", name: 'g <x> > in "g"', seconds: 0.25, status: "passed", message: "" },
    {
      file: "tests/a_test.ts",
      name: "fails",
      seconds: 0.000151,
      status: "failed",
      message: "expected\n\n1 & 2",
    },
    {
      file: "tests/a_test.ts",
      name: "root [skipped: needs root]",
      seconds: 0,
      status: "skipped",
      message: "needs root",
    },
    { file: "tests/a_test.ts", name: "bare", seconds: 0, status: "skipped", message: "" },
  ]);
});

test("skips without an allowed reason fail, and the last line counts", () => {
  const cases = parseJunit(REPORT);
  expect(summaryLine(judgeSkips(cases, new Set(["needs root"])))).toBe("1 passed, 2 failed, 1 skipped");
  expect(summaryLine(judgeSkips(cases, new Set()))).toBe("1 passed, 3 failed");
});
