import { describe, expect, test } from "bun:test";
import { parseArgs } from "../../src/cli/args.ts";
import { commands } from "../../src/cli/commands.ts";
import { helpText } from "../../src/cli/help.ts";
import { renderUsageError, type UsageError } from "../../src/cli/usage_error.ts";

const RUN = {
  command: "run",
  configPaths: ["a.toml"],
  requireHealthy: false,
  once: false,
  dryRun: false,
  watchConfig: false,
  logLevel: null,
};

const EXEC = {
  command: "exec",
  configPaths: ["a.toml"],
  requireHealthy: false,
  tee: false,
  logLevel: null,
  words: ["./app"],
};

const ALL_COMMANDS = `the commands are: ${commands.map((each) => each.name).join(", ")}`;
const WHICH_REPAIR =
  'write --journal for the journal, or --sink NAME for the disk buffer of a sink; "shipper buffer verify" says whether that one is damaged';

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
    ["exec -c a.toml -- ./app", EXEC],
    ["exec -c a.toml -- ./app -c x --help -- run", {
      ...EXEC,
      words: ["./app", "-c", "x", "--help", "--", "run"],
    }],
    ["exec --tee --require-healthy --log-level warn -c a.toml -- ./app", {
      ...EXEC,
      tee: true,
      requireHealthy: true,
      logLevel: "warn",
    }],
    ["exec --help -- ./app", { command: "help", topic: "exec" }],
    ["validate -c a.toml -c b.toml", { command: "validate", configPaths: ["a.toml", "b.toml"], json: false }],
    ["validate --json -c a.toml", { command: "validate", configPaths: ["a.toml"], json: true }],
    ["config show -c a.toml", { command: "config show", configPaths: ["a.toml"], json: false }],
    ["config show --json -c -", { command: "config show", configPaths: ["-"], json: true }],
    ["schema", { command: "schema" }],
    ["generate", { command: "generate", sources: ["file"], sinks: ["kafka"] }],
    ["generate --sources stdin,file --sinks=console", {
      command: "generate",
      sources: ["stdin", "file"],
      sinks: ["console"],
    }],
    ["completion bash", { command: "completion", shell: "bash" }],
    ["completion fish", { command: "completion", shell: "fish" }],
    ["help completion", { command: "help", topic: "completion" }],
    ["config show --help", { command: "help", topic: "config show" }],
    ["positions -c a.toml", { command: "positions", configPaths: ["a.toml"], json: false }],
    ["positions --json -c a.toml -c b.toml", {
      command: "positions",
      configPaths: ["a.toml", "b.toml"],
      json: true,
    }],
    ["positions forget -c a.toml --sink events", {
      command: "positions forget",
      configPaths: ["a.toml"],
      sink: "events",
    }],
    ["positions forget --sink=-odd -c a.toml", {
      command: "positions forget",
      configPaths: ["a.toml"],
      sink: "-odd",
    }],
    ["audit -c a.toml", { command: "audit", configPaths: ["a.toml"], json: false }],
    ["audit --config a.toml --json", { command: "audit", configPaths: ["a.toml"], json: true }],
    ["buffer repair --journal -c a.toml", { command: "buffer repair", configPaths: ["a.toml"] }],
    ["buffer repair -c a.toml --journal", { command: "buffer repair", configPaths: ["a.toml"] }],
    ["buffer repair -c a.toml --sink out", {
      command: "buffer repair --sink",
      configPaths: ["a.toml"],
      sink: "out",
    }],
    ["buffer ls -c a.toml", { command: "buffer ls", configPaths: ["a.toml"], sink: null, json: false }],
    ["buffer ls -c a.toml --sink out --json", {
      command: "buffer ls",
      configPaths: ["a.toml"],
      sink: "out",
      json: true,
    }],
    ["buffer verify --json -c a.toml", {
      command: "buffer verify",
      configPaths: ["a.toml"],
      sink: null,
      json: true,
    }],
    ["buffer export -c a.toml --sink out", {
      command: "buffer export",
      configPaths: ["a.toml"],
      sink: "out",
      format: "lines",
      all: false,
    }],
    ["buffer export -c a.toml --sink out --all --format json", {
      command: "buffer export",
      configPaths: ["a.toml"],
      sink: "out",
      format: "json",
      all: true,
    }],
    ["--version", { command: "version" }],
    ["-V", { command: "version" }],
    ["--help", { command: "help", topic: null }],
    ["-h", { command: "help", topic: null }],
    ["help", { command: "help", topic: null }],
    ["help validate", { command: "help", topic: "validate" }],
    ["validate --help", { command: "help", topic: "validate" }],
    ["--nonsense --help", { command: "help", topic: null }],
    ["help positions", { command: "help", topic: "positions" }],
    ["help positions forget", { command: "help", topic: "positions forget" }],
    ["positions forget -h", { command: "help", topic: "positions forget" }],
    ["help buffer", { command: "help", topic: "buffer" }],
    ["buffer --help", { command: "help", topic: "buffer" }],
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
    [
      "exec -c a.toml",
      'No command was named behind "--"',
      "write shipper exec --config FILE [--tee] [--require-healthy] [--log-level LEVEL] -- COMMAND [ARG...]",
    ],
    [
      "exec -c a.toml --",
      'No command was named behind "--"',
      "write shipper exec --config FILE [--tee] [--require-healthy] [--log-level LEVEL] -- COMMAND [ARG...]",
    ],
    [
      "exec -c a.toml -- ",
      'The command has an empty name behind "--"',
      "write shipper exec --config FILE [--tee] [--require-healthy] [--log-level LEVEL] -- COMMAND [ARG...]",
    ],
    [
      "exec -c a.toml ./app",
      'Cannot use the word "./app"',
      "the command goes behind --: shipper exec --config FILE [--tee] [--require-healthy] [--log-level LEVEL] -- COMMAND [ARG...]",
    ],
    [
      "exec -- ./app",
      "No configuration was named",
      "shipper exec --config FILE; shipper --help lists the flags",
    ],
    [
      "exec -c a.toml --once -- ./app",
      '"shipper exec" has no flag "--once"',
      'it is a flag of "shipper run"',
    ],
    ["-c a.toml --tee", '"shipper run" has no flag "--tee"', 'it is a flag of "shipper exec"'],
    [
      "-c a.toml -- ./app",
      'Cannot use the word "--"',
      "a command is run by shipper exec --config FILE -- COMMAND",
    ],
    ["frobnicate", 'There is no command "frobnicate"', ALL_COMMANDS],
    ["help frobnicate", 'There is no command "frobnicate"', ALL_COMMANDS],
    ["postions -c a.toml", 'There is no command "postions"', 'did you mean "shipper positions"?'],
    ["bufer repair", 'There is no command "bufer"', 'did you mean "shipper buffer repair"?'],
    [
      "positions forgte --sink x",
      'There is no command "positions forgte"',
      'did you mean "shipper positions forget"?',
    ],
    [
      "positions frobnicate",
      'There is no command "positions frobnicate"',
      "write shipper positions --config FILE [--json]",
    ],
    [
      "positions a.toml",
      'There is no command "positions a.toml"',
      "a configuration is named by --config a.toml",
    ],
    [
      "help positions forgte",
      'There is no command "positions forgte"',
      'did you mean "shipper positions forget"?',
    ],
    [
      "help buffer list",
      'There is no command "buffer list"',
      "write shipper buffer ls --config FILE [--sink NAME] [--json]",
    ],
    [
      "buffer",
      'Command "buffer" lacks its second word',
      "write shipper buffer ls --config FILE [--sink NAME] [--json]",
    ],
    [
      "buffer --journal -c a.toml",
      'Command "buffer" lacks its second word',
      "write shipper buffer ls --config FILE [--sink NAME] [--json]",
    ],
    ["buffer repair -c a.toml", "It is not said what is to be repaired", WHICH_REPAIR],
    [
      "buffer repair -c a.toml --journal --sink out",
      'Flags "--journal" and "--sink" do not go together',
      WHICH_REPAIR,
    ],
    [
      "buffer repair --journal",
      "No configuration was named",
      "shipper buffer repair --config FILE; shipper --help lists the flags",
    ],
    [
      "buffer export -c a.toml",
      'Flag "--sink" is missing',
      "write shipper buffer export --config FILE --sink NAME [--format FORMAT] [--all]",
    ],
    [
      "buffer export -c a.toml --sink a --format jsno",
      'Flag "--format" cannot be "jsno": expected one of "lines", "json"',
      'did you mean "json"?',
    ],
    ["buffer ls -c a.toml --sink a --sink b", 'Flag "--sink" was given twice', "write --sink NAME once"],
    ["buffer ls -c a.toml --sink=", 'Flag "--sink" has an empty value', "write --sink NAME"],
    ["buffer repair --journal=x -c a.toml", 'Flag "--journal" takes no value', "write --journal alone"],
    [
      "positions forget -c a.toml",
      'Flag "--sink" is missing',
      "write shipper positions forget --config FILE --sink NAME",
    ],
    ["positions forget -c a.toml --sink", 'Flag "--sink" lacks its value', "write --sink NAME"],
    ["positions forget -c a.toml --sink=", 'Flag "--sink" has an empty value', "write --sink NAME"],
    [
      "positions forget -c a.toml --sink a --sink b",
      'Flag "--sink" was given twice',
      "write --sink NAME once",
    ],
    [
      "positions -c a.toml --sink a",
      '"shipper positions" has no flag "--sink"',
      'it is a flag of "shipper positions forget"',
    ],
    ["audit -c a.toml --jsn", 'There is no flag "--jsn"', 'did you mean "--json"?'],
    ["audit -c a.toml --once", '"shipper audit" has no flag "--once"', 'it is a flag of "shipper run"'],
    ["audit", "No configuration was named", "shipper audit --config FILE; shipper --help lists the flags"],
    [
      "generate --sources file,fiel",
      'Flag "--sources" cannot be "fiel": expected one of "file", "stdin"',
      'did you mean "file"?',
    ],
    [
      "generate --sources file,",
      'Flag "--sources" cannot be "": expected one of "file", "stdin"',
      "write --sources file",
    ],
    [
      "generate --sinks console,kafka,console",
      'Flag "--sinks" names "console" twice',
      "name each kind once",
    ],
    ["generate --sinks", 'Flag "--sinks" lacks its value', "write --sinks kafka"],
    ["completion", 'Command "completion" lacks its second word', "write shipper completion bash"],
    ["completion tcsh", 'There is no command "completion tcsh"', "write shipper completion bash"],
    ["completion zhs", 'There is no command "completion zhs"', 'did you mean "shipper completion zsh"?'],
    ["config", 'Command "config" lacks its second word', "write shipper config show --config FILE [--json]"],
    ["schema --config x", '"shipper schema" has no flag "--config"', 'it is a flag of "shipper run"'],
    ["audit x -c a.toml", 'Cannot use the word "x"', "a configuration is named by --config x"],
    [
      "-c a.toml validate",
      'Cannot use the word "validate"',
      "the command comes first: shipper validate --config FILE [--json]",
    ],
    [
      "run positions -c a.toml",
      'Cannot use the word "positions"',
      "the command comes first: shipper positions --config FILE [--json]",
    ],
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

test("the help of a first word is that of all its commands", () => {
  const help = helpText("positions");
  expect(help).toContain("  shipper positions --config FILE [--json]\n");
  expect(help).toContain("  shipper positions forget --config FILE --sink NAME\n");
  expect(help.match(/--help/gu)).toHaveLength(1);
  expect(helpText("buffer")).toContain("  shipper buffer repair --config FILE [--journal] [--sink NAME]\n");
  expect(helpText("positions forget")).not.toContain("--json");
});

test("every command and flag has a doc of whole sentences, and every command examples that can be typed", () => {
  for (const { name, doc, flags, examples } of commands) {
    expect(doc, name).toMatch(/^[A-Z].*\.$/u);
    for (const flag of flags) expect(flag.doc, `${name} --${flag.name}`).toMatch(/^[A-Za-z].*\.$/u);
    expect(examples.length, name).toBeGreaterThan(0);
    for (const example of examples) {
      const [program, ...words] = example.split(" > ")[0]!.split(" ");
      expect(program).toBe("shipper");
      // "completion bash" is the command "completion", "buffer repair --sink" one of "buffer repair".
      const { command } = parseArgs(words);
      expect(command.startsWith(name) || name.startsWith(command), `${example}: ${command}`).toBe(true);
    }
  }
});
