import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { armCrashPoints, CRASH_POINTS, crashPoint } from "../../src/telemetry/crash_point.ts";
import { tempDir } from "../support/temp_dir.ts";

const MODULE = new URL("../../src/telemetry/crash_point.ts", import.meta.url).pathname;

/** Runs code in a process of its own, armed with `spec`; gives how it ended and what it printed until then. */
function runArmed(spec: string, code: string): { signal: unknown; stdout: string } {
  using dir = tempDir("crash");
  const path = dir.file("child.ts");
  const head =
    `import { writeSync } from "node:fs";\nimport { armCrashPoints, crashPoint } from "${MODULE}";\n` +
    `const say = (text: string) => writeSync(1, text);\narmCrashPoints({ SHIPPER_CRASH_AT: "${spec}" });\n`;
  writeFileSync(path, head + code);
  const child = Bun.spawnSync([process.execPath, path], { timeout: 15_000 });
  return { signal: child.signalCode, stdout: child.stdout.toString() };
}

test("the process dies at the point, and runs nothing after it", () => {
  const code =
    'process.on("exit", () => say("exit"));\ntry {\n  say("a");\n  crashPoint("after_send");\n  say("b");\n' +
    '  crashPoint("after_ack");\n  say("c");\n} finally {\n  say("finally");\n}\n';
  expect(runArmed("after_ack", code)).toEqual({ signal: "SIGKILL", stdout: "ab" });
});

test("the n-th passing is counted over that point alone", () => {
  const code = 'for (const each of "123456") {\n  say(each);\n  crashPoint("before_unlink");\n' +
    '  crashPoint("after_unlink");\n}\n';
  expect(runArmed("after_unlink:3", code)).toEqual({ signal: "SIGKILL", stdout: "123" });
  expect(runArmed("after_unlink:7", code)).toEqual({ signal: undefined, stdout: "123456" });
});

test("nothing happens unless a point is armed", () => {
  armCrashPoints({});
  armCrashPoints({ SHIPPER_CRASH_AT: "" });
  for (const each of CRASH_POINTS) crashPoint(each);
});

test("a variable that names no point is refused", () => {
  for (
    const spec of [
      "after_acks",
      "after_ack:0",
      "after_ack:",
      "after_ack:1.5",
      "after_ack:-1",
      ":1",
      "x after_ack",
    ]
  ) {
    expect(() => armCrashPoints({ SHIPPER_CRASH_AT: spec }), spec).toThrow(
      `Cannot read SHIPPER_CRASH_AT: "${spec}" is not NAME or NAME:N`,
    );
  }
});
