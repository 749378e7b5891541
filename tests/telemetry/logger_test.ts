import { expect, test } from "bun:test";
import fc from "fast-check";
import { TEXT_CHARS_MAX } from "../../src/telemetry/log_format.ts";
import { createLogger, type LoggerOptions } from "../../src/telemetry/logger.ts";

const NOON = Date.UTC(2026, 10, 21, 12, 0, 0, 7);

function setup(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const clock = { ms: NOON };
  const log = createLogger({
    level: "info",
    format: "json",
    write: (text) => void lines.push(text),
    now: () => clock.ms,
    ...options,
  });
  return { log, lines, clock };
}

test("logger writes one JSON object a line", () => {
  const { log, lines } = setup();
  log.warn("Cannot open a file", { file: "/var/log/ä\n.log", bytes: 12, ok: false, none: null });
  expect(lines).toEqual([
    '{"ts":"2026-11-21T12:00:00.007Z","level":"warn","message":"Cannot open a file","file":"/var/log/ä\\n.log","bytes":12,"ok":false,"none":null}\n',
  ]);
});

test("logger keeps its own JSON keys when a field has the same name, and numbers that JSON does not have", () => {
  const { log, lines } = setup();
  log.info("Hello", { ts: "x", level: "y", message: "z", rate: NaN, most: Infinity });
  const { ts, level, message, ...rest } = JSON.parse(lines[0]!);
  expect([ts, level, message]).toEqual(["2026-11-21T12:00:00.007Z", "info", "Hello"]);
  expect(rest).toEqual({ ts_: "x", level_: "y", message_: "z", rate: "NaN", most: "Infinity" });
});

test("logger writes pretty lines with quotes only where they are needed", () => {
  const { log, lines } = setup({ format: "pretty", level: "debug" });
  const time = /^\d\d:\d\d:\d\d\.007/;
  log.debug("Opened a file", { file: "/a b.log", size: 1, name: "" });
  log.error("Lost data");
  expect(lines[0]).toMatch(time);
  expect(lines[0]!.replace(time, "T")).toBe('T DEBUG Opened a file  file="/a b.log" size=1 name=""\n');
  expect(lines[1]!.replace(time, "T")).toBe("T ERROR Lost data\n");
});

test("logger colours the level and the keys when asked", () => {
  const { log, lines } = setup({ format: "pretty", color: true });
  log.error("Lost data", { file: "x" });
  expect(lines[0]).toContain("\x1b[31mERROR\x1b[0m Lost data  \x1b[2mfile=\x1b[0mx\n");
});

test("logger never lets a text leave its line or move the cursor", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (message, value) => {
    for (const format of ["pretty", "json"] as const) {
      const { log, lines } = setup({ format });
      log.info(message, { key: value });
      // deno-lint-ignore no-control-regex
      expect(lines.join("")).toMatch(/^[^\x00-\x1f]*\n$/);
      if (format === "pretty") {
        expect(lines.join("")).not.toMatch(/[\x7f-\x9f]/);
      } else expect(JSON.parse(lines[0]!).key).toBe(value);
    }
  }));
});

test("logger cuts a text that is very long", () => {
  const { log, lines } = setup();
  log.info("x".repeat(TEXT_CHARS_MAX + 5), { value: "y".repeat(100_000) });
  const { message, value } = JSON.parse(lines[0]!);
  expect(message).toBe("x".repeat(TEXT_CHARS_MAX) + "... (5 more characters)");
  expect(value.length).toBeLessThan(TEXT_CHARS_MAX + 40);
});

test("logger leaves out what is below its level", () => {
  const { log, lines } = setup({ level: "warn" });
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  expect(lines.map((line) => JSON.parse(line).message)).toEqual(["c", "d"]);
});

test("logger's child adds its fields, and the message's own win", () => {
  const { log, lines } = setup();
  log.child({ sink: "a", part: 1 }).child({ part: 2 }).info("Hello", { sink: "b" });
  expect(JSON.parse(lines[0]!)).toMatchObject({ sink: "b", part: 2 });
});

test("logger writes a message five times in ten seconds, numbers aside, and then sums up", () => {
  const { log, lines, clock } = setup();
  for (let i = 0; i < 120; i++) {
    log.warn(`Attempt ${i} failed`, { i });
    clock.ms += 10;
  }
  expect(lines.length).toBe(5);
  clock.ms = NOON + 10_000;
  log.info("Something else");
  expect(lines.slice(5).map((line) => JSON.parse(line).message)).toEqual([
    "Attempt 119 failed (repeated 115 more times in 10 s)",
    "Something else",
  ]);
  expect(JSON.parse(lines[5]!)).toMatchObject({ level: "warn", i: 119, ts: "2026-11-21T12:00:10.007Z" });
});

test("logger tells what goes on for longer once in ten seconds, until it was quiet for as long", () => {
  const { log, lines, clock } = setup();
  const messages = () => lines.map((line) => JSON.parse(line).message);
  for (let second = 0; second < 60; second++) {
    log.warn("Still failing");
    clock.ms += 1_000;
  }
  expect(messages().slice(0, 5)).toEqual(Array(5).fill("Still failing"));
  expect(messages().slice(5)).toEqual([
    "Still failing (repeated 5 more times in 10 s)",
    ...Array(4).fill("Still failing (repeated 10 more times in 10 s)"),
  ]);
  log.info("Works again");
  clock.ms += 10_000;
  log.warn("Still failing");
  expect(messages().slice(10)).toEqual([
    "Still failing (repeated 10 more times in 10 s)",
    "Works again",
    "Still failing",
  ]);
});

test("logger tells the same text at another level from it, and does not limit debug messages", () => {
  const { log, lines } = setup({ level: "debug" });
  for (let i = 0; i < 10; i++) {
    log.debug("Same");
    log.info("Same");
    log.error("Same");
  }
  expect(lines.length).toBe(20);
});

test("logger writes what it held back when it is closed", () => {
  const { log, lines } = setup();
  for (let i = 0; i < 6; i++) log.info("Same");
  log.close();
  expect(lines.map((line) => JSON.parse(line).message)[5]).toBe("Same (repeated 1 more time in 10 s)");
  log.close();
  expect(lines.length).toBe(6);
});

test("logger goes on when the clock is set back", () => {
  const { log, lines, clock } = setup();
  for (let i = 0; i < 7; i++) log.info("Same");
  clock.ms -= 3_600_000;
  log.info("Same");
  expect(lines.length).toBe(7);
});

test("logger bounds a flood of different messages", () => {
  const { log, lines, clock } = setup();
  const word = (i: number) => i.toString(26).replace(/\d/g, (digit) => "qrstuvwxyz"[Number(digit)]!);
  for (let i = 0; i < 2_000; i++) log.info(`Message ${word(i)}`);
  expect(lines.length).toBe(256 + 100);
  clock.ms += 10_000;
  log.info("After");
  expect(lines.slice(356).map((line) => JSON.parse(line).message)).toEqual([
    "1644 other messages in 10 s were left out: there were too many different ones",
    "After",
  ]);
});

test("logger announces lines that could not be written", () => {
  let lost = 3;
  const { log, lines } = setup({
    takeLostLines: () => {
      const count = lost;
      lost = 0;
      return count;
    },
  });
  log.info("One");
  log.info("Two");
  expect(lines.map((line) => JSON.parse(line).message)).toEqual([
    "3 log lines were left out: standard error did not take them",
    "One",
    "Two",
  ]);
});
