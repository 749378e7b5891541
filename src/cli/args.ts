import type { LogLevel } from "../config/config.ts";
import { nearest } from "../config/suggest.ts";

/**
 * The command line, declared once: commands and flags below are what is parsed, what the help prints, and
 * what an unknown word is compared with. An own parser of a page instead of a library: a message names the
 * nearest flag and ends with exit code 2, and nothing is loaded for it at start.
 */
export type ParsedArgs = RunArgs | ValidateArgs | HelpArgs | VersionArgs | UsageError;

export interface RunArgs {
  readonly command: "run";
  /** At least one; "-" is standard input. */
  readonly configPaths: readonly string[];
  /** End with exit code 78 when a health check fails at start. */
  readonly requireHealthy: boolean;
  /** Read what is there, deliver it, exit. */
  readonly once: boolean;
  /** Print what would be produced instead of producing it. */
  readonly dryRun: boolean;
  /** Wins over `log.level`; null when it was not given. */
  readonly logLevel: LogLevel | null;
}

export interface ValidateArgs {
  readonly command: "validate";
  readonly configPaths: readonly string[];
}

export interface HelpArgs {
  readonly command: "help";
  /** The command to explain; null for the program. */
  readonly topic: string | null;
}

export interface VersionArgs {
  readonly command: "version";
}

/** Ends with exit code 2. */
export interface UsageError {
  readonly command: "usage-error";
  readonly message: string;
  readonly hint: string;
}

interface FlagSpec {
  readonly name: string;
  readonly short?: string;
  /** Name of the value in the help; without it the flag takes none. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly doc: string;
}

interface CommandSpec {
  readonly name: string;
  readonly doc: string;
  readonly flags: readonly FlagSpec[];
  readonly examples: readonly string[];
}

const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

const configFlag: FlagSpec = {
  name: "config",
  short: "c",
  value: "FILE",
  doc: 'A configuration file, or "-" for standard input. Several are joined.',
};
const helpFlag: FlagSpec = { name: "help", short: "h", doc: "Print this help." };
const versionFlag: FlagSpec = { name: "version", short: "V", doc: "Print the version." };

/** All commands; the first is meant when none is named. */
export const commands: readonly CommandSpec[] = [
  {
    name: "run",
    doc: "Ship until the sources have ended or a signal comes. Meant when no command is named.",
    flags: [
      configFlag,
      { name: "once", doc: "Read what is there, deliver all of it, and exit." },
      { name: "dry-run", doc: "Print the records that would be produced, and produce none." },
      { name: "require-healthy", doc: "Exit with code 78 when a sink's health check fails at start." },
      {
        name: "log-level",
        value: "LEVEL",
        choices: LOG_LEVELS,
        doc: `${LOG_LEVELS.join(", ")}; wins over log.level.`,
      },
      helpFlag,
      versionFlag,
    ],
    examples: ["shipper --config shipper.toml", "shipper --config shipper.toml --once"],
  },
  {
    name: "validate",
    doc: "Check a configuration, open nothing else, and list every problem.",
    flags: [configFlag, helpFlag],
    examples: ["shipper validate --config shipper.toml"],
  },
];

const EXIT_CODES = [
  ["0", "everything is delivered, or what is left is safe in its file"],
  ["1", "data was lost or dropped under --once, or the run failed"],
  ["2", "wrong usage of the command line"],
  ["78", "wrong configuration, failed health check with --require-healthy, or data_dir locked or unusable"],
  ["130, 143", "ended by a second signal"],
] as const;

/** What the words after the program's name ask for. Never throws. */
export function parseArgs(argv: readonly string[]): ParsedArgs {
  const words = [...argv];
  let command = commands[0]!;
  const first = words[0];
  if (first !== undefined && !first.startsWith("-")) {
    if (first === "help") return helpAbout(words[1]);
    const named = commands.find((each) => each.name === first);
    if (named === undefined) return unknownCommand(first);
    command = named;
    words.shift();
  }
  const values = new Map<string, string[]>();
  const problem = collectFlags(words, command, values);
  // Help is given even when the rest of the line is wrong.
  if (values.has("help")) return { command: "help", topic: command === commands[0] ? null : command.name };
  if (problem !== null) return problem;
  if (values.has("version")) return { command: "version" };
  const configPaths = values.get("config") ?? [];
  const configProblem = checkConfigPaths(configPaths, command);
  if (configProblem !== null) return configProblem;
  if (command.name === "validate") return { command: "validate", configPaths };
  return {
    command: "run",
    configPaths,
    requireHealthy: values.has("require-healthy"),
    once: values.has("once"),
    dryRun: values.has("dry-run"),
    logLevel: (values.get("log-level")?.at(-1) ?? null) as LogLevel | null,
  };
}

function checkConfigPaths(paths: readonly string[], command: CommandSpec): UsageError | null {
  const call = command.name === "run" ? "shipper" : `shipper ${command.name}`;
  if (paths.length === 0) {
    return usageError("No configuration was named", `${call} --config FILE; shipper --help lists the flags`);
  }
  if (paths.includes("")) {
    return usageError('Flag "--config" has an empty value', `${call} --config FILE`);
  }
  const twice = paths.find((each, index) => paths.indexOf(each) !== index);
  return twice === undefined
    ? null
    : usageError(`Configuration "${twice}" was named twice`, "name each file once");
}

/** Fills `values`; a flag without a value gets an empty list. Stops at the first problem. */
function collectFlags(
  words: readonly string[],
  command: CommandSpec,
  values: Map<string, string[]>,
): UsageError | null {
  let problem: UsageError | null = null;
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (!word.startsWith("-") || word === "-" || word === "--") {
      problem ??= usageError(`Cannot use the word "${word}"`, `a configuration is named by --config ${word}`);
      continue;
    }
    const { name, inline } = splitFlag(word);
    const flag = command.flags.find((each) => name === `--${each.name}` || name === `-${each.short}`);
    if (flag === undefined) {
      problem ??= unknownFlag(name, command);
      continue;
    }
    const list = values.get(flag.name) ?? [];
    values.set(flag.name, list);
    if (flag.value === undefined) {
      if (inline !== null) {
        problem ??= usageError(`Flag "--${flag.name}" takes no value`, `write --${flag.name} alone`);
      }
      continue;
    }
    const value = inline ?? words[++index];
    if (value === undefined || (inline === null && value.startsWith("-") && value !== "-")) {
      const example = `--${flag.name} ${flag.choices?.[0] ?? flag.value}`;
      problem ??= usageError(`Flag "--${flag.name}" lacks its value`, `write ${example}`);
      if (inline === null) index--;
    } else if (flag.choices !== undefined && !flag.choices.includes(value)) {
      problem ??= badChoice(flag, value);
    } else {
      list.push(value);
    }
    if (value === undefined) break;
  }
  return problem;
}

/** "--config=a" and "-ca" carry their value. */
function splitFlag(word: string): { name: string; inline: string | null } {
  if (word.startsWith("--")) {
    const equals = word.indexOf("=");
    return equals === -1
      ? { name: word, inline: null }
      : { name: word.slice(0, equals), inline: word.slice(equals + 1) };
  }
  const rest = word.slice(2).replace(/^=/u, "");
  return { name: word.slice(0, 2), inline: word.length === 2 ? null : rest };
}

function badChoice(flag: FlagSpec, value: string): UsageError {
  const near = nearest(value, flag.choices!);
  const list = flag.choices!.map((each) => `"${each}"`).join(", ");
  return usageError(
    `Flag "--${flag.name}" cannot be "${value}": expected one of ${list}`,
    near === null ? `write --${flag.name} ${flag.choices![0]}` : `did you mean "${near}"?`,
  );
}

function unknownFlag(name: string, command: CommandSpec): UsageError {
  const owner = commands.find((each) => each.flags.some((flag) => `--${flag.name}` === name));
  if (owner !== undefined) {
    return usageError(
      `"shipper ${command.name}" has no flag "${name}"`,
      `it is a flag of "shipper ${owner.name}"`,
    );
  }
  const near = nearest(name, command.flags.map((each) => `--${each.name}`));
  return usageError(
    `There is no flag "${name}"`,
    near === null ? "shipper --help lists the flags" : `did you mean "${near}"?`,
  );
}

function unknownCommand(word: string): UsageError {
  const near = nearest(word, commands.map((each) => each.name));
  const hint = near !== null
    ? `did you mean "shipper ${near}"?`
    : /[./]/u.test(word)
    ? `a configuration is named by --config ${word}`
    : `the commands are: ${commands.map((each) => each.name).join(", ")}`;
  return usageError(`There is no command "${word}"`, hint);
}

function helpAbout(word: string | undefined): ParsedArgs {
  if (word === undefined) return { command: "help", topic: null };
  return commands.some((each) => each.name === word)
    ? { command: "help", topic: word }
    : unknownCommand(word);
}

function usageError(message: string, hint: string): UsageError {
  return { command: "usage-error", message, hint };
}

/** For stderr, in the form of the diagnostics. */
export function renderUsageError(error: UsageError): string {
  return `error[usage]: ${error.message}\n = hint: ${error.hint}\n`;
}

/** The help of a command, or of the program. */
export function helpText(topic: string | null): string {
  const command = commands.find((each) => each.name === topic) ?? commands[0]!;
  const lines: string[] = [];
  if (topic === null) {
    lines.push("shipper: ships log files and standard input to Apache Kafka", "", "Usage:");
    lines.push("  shipper [run] --config FILE [flags]");
    for (const each of commands.slice(1)) lines.push(`  shipper ${each.name} --config FILE`);
    lines.push("", "Commands:", ...columns(commands.map((each) => [each.name, each.doc])));
  } else {
    lines.push(
      `shipper ${command.name}: ${command.doc}`,
      "",
      "Usage:",
      `  shipper ${command.name} --config FILE [flags]`,
    );
  }
  lines.push("", "Flags:", ...columns(command.flags.map((each) => [flagLabel(each), each.doc])));
  const examples = topic === null ? commands.flatMap((each) => each.examples) : command.examples;
  lines.push("", "Examples:", ...examples.map((each) => `  ${each}`));
  if (topic === null) lines.push("", "Exit codes:", ...columns(EXIT_CODES));
  return lines.join("\n") + "\n";
}

function flagLabel(flag: FlagSpec): string {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  return `${short}--${flag.name}${flag.value === undefined ? "" : ` ${flag.value}`}`;
}

function columns(rows: readonly (readonly [string, string] | readonly string[])[]): string[] {
  const width = Math.max(...rows.map((each) => each[0]!.length));
  return rows.map(([left, right]) => `  ${left!.padEnd(width)}  ${right}`);
}
