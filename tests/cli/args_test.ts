import { describe, expect, test } from "bun:test";
import { commands, helpText, parseArgs, renderUsageError, type UsageError } from "../../src/cli/args.ts";

const RUN = {
  command: "run",
  configPaths: ["a.toml"],
  requireHealthy: false,
  once: false,
  dryRun: false,
  logLevel: null,
};

describe("what is understood", () => {
  const cases: [string, object][] = [
    ["--config a.toml", RUN],
    ["run --config a.toml", RUN],
    ["-c a.toml", RUN],
    ["-ca.toml", RUN],
    ["-c=a.toml", RUN],
    ["--config=a.toml", RUN],
    ["-c a.toml --config b.toml -c -", { ...RUN, configPaths: ["a.toml", "b.toml", "-"] }],
    ["--config=--odd.toml", { ...RUN, configPaths: ["--odd.toml"] }],
    ["--once -c a.toml --dry-run --require-healthy", {
      ...RUN,
      once: true,
      dryRun: true,
      requireHealthy: true,
    }],
    ["-c a.toml --log-level debug", { ...RUN, logLevel: "debug" }],
    ["-c a.toml --log-level=debug --log-level warn", { ...RUN, logLevel: "warn" }],
    ["validate -c a.toml -c b.toml", { command: "validate", configPaths: ["a.toml", "b.toml"] }],
    ["--version", { command: "version" }],
    ["-V", { command: "version" }],
    ["--help", { command: "help", topic: null }],
    ["-h", { command: "help", topic: null }],
    ["help", { command: "help", topic: null }],
    ["help validate", { command: "help", topic: "validate" }],
    ["validate --help", { command: "help", topic: "validate" }],
    ["--nonsense --help", { command: "help", topic: null }],
  ];
  for (const [line, expected] of cases) {
    test(`shipper ${line}`, () => expect(parseArgs(line.split(" "))).toEqual(expected as never));
  }
});

describe("what is refused", () => {
  const cases: [string, string, string][] = [
    ["", "No configuration was named", "shipper --config FILE; shipper --help lists the flags"],
    ["--once", "No configuration was named", "shipper --config FILE; shipper --help lists the flags"],
    [
      "validate",
      "No configuration was named",
      "shipper validate --config FILE; shipper --help lists the flags",
    ],
    ["--confg a.toml", 'There is no flag "--confg"', 'did you mean "--config"?'],
    ["-c a.toml --onec", 'There is no flag "--onec"', 'did you mean "--once"?'],
    ["-c a.toml -x", 'There is no flag "-x"', "shipper --help lists the flags"],
    ["-c a.toml --frobnicate", 'There is no flag "--frobnicate"', "shipper --help lists the flags"],
    ["validate -c a.toml --once", '"shipper validate" has no flag "--once"', 'it is a flag of "shipper run"'],
    ["--config", 'Flag "--config" lacks its value', "write --config FILE"],
    ["--config --once", 'Flag "--config" lacks its value', "write --config FILE"],
    ["--config=", 'Flag "--config" has an empty value', "shipper --config FILE"],
    ["-c a.toml --log-level", 'Flag "--log-level" lacks its value', "write --log-level debug"],
    [
      "-c a.toml --log-level inof",
      'Flag "--log-level" cannot be "inof": expected one of "debug", "info", "warn", "error"',
      'did you mean "info"?',
    ],
    ["-c a.toml --once=yes", 'Flag "--once" takes no value', "write --once alone"],
    ["-c a.toml b.toml", 'Cannot use the word "b.toml"', "a configuration is named by --config b.toml"],
    ["-c a.toml -c a.toml", 'Configuration "a.toml" was named twice', "name each file once"],
    ["vaildate -c a.toml", 'There is no command "vaildate"', 'did you mean "shipper validate"?'],
    [
      "shipper.toml",
      'There is no command "shipper.toml"',
      "a configuration is named by --config shipper.toml",
    ],
    ["frobnicate", 'There is no command "frobnicate"', "the commands are: run, validate"],
    ["help frobnicate", 'There is no command "frobnicate"', "the commands are: run, validate"],
  ];
  for (const [line, message, hint] of cases) {
    test(`shipper ${line}`, () => {
      const argv = line === "" ? [] : line.split(" ");
      expect(parseArgs(argv)).toEqual({ command: "usage-error", message, hint });
    });
  }
});

test("a usage error looks like a diagnostic", () => {
  const error = parseArgs(["--onec", "-c", "a.toml"]) as UsageError;
  expect(renderUsageError(error)).toBe(
    'error[usage]: There is no flag "--onec"\n = hint: did you mean "--once"?\n',
  );
});

test("the help names every command and every flag, in lines of at most 110 columns", () => {
  const help = helpText(null);
  for (const command of commands) {
    expect(help).toContain(`  ${command.name} `);
    const own = helpText(command.name);
    for (const flag of command.flags) {
      expect(own).toContain(`--${flag.name}`);
      expect(own).toContain(flag.doc);
    }
    for (const line of [...help.split("\n"), ...own.split("\n")]) {
      expect(line.length, line).toBeLessThanOrEqual(110);
    }
  }
  for (const code of ["0", "1", "2", "78", "130, 143"]) expect(help).toContain(`\n  ${code.padEnd(8)}  `);
});
