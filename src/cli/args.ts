import type { LogLevel } from "../config/config.ts";
import type { CheckArgs } from "./check.ts";
import { nearest } from "../config/suggest.ts";
import {
  commandFamily,
  commands,
  type CommandSpec,
  type FlagSpec,
  labelOf,
  type Shell,
  usageOf,
} from "./commands.ts";
import { letterArgs, type ListLettersArgs, type ReplayLettersArgs, type ShowLetterArgs } from "./dlq_args.ts";
import type { GenerateArgs } from "./generate.ts";
import type { ShowConfigArgs } from "./show_config.ts";
import { checkChoices, unknownFlag, type UsageError, usageError } from "./usage_error.ts";
import type { ValidateArgs } from "./validate.ts";

/**
 * The command line, parsed by what commands.ts declares. An own parser of a page instead of a library: a message names the nearest flag
 * and ends with exit code 2, and nothing is loaded for it at start.
 */
export type ParsedArgs =
  | RunArgs
  | ExecArgs
  | ValidateArgs
  | CheckArgs
  | ShowConfigArgs
  | GenerateArgs
  | SchemaArgs
  | CompletionArgs
  | PositionsArgs
  | ForgetSinkArgs
  | AuditArgs
  | LookAtBuffersArgs
  | ExportBufferArgs
  | RepairJournalArgs
  | RepairBufferArgs
  | ListLettersArgs
  | ShowLetterArgs
  | ReplayLettersArgs
  | HelpArgs
  | VersionArgs
  | UsageError;

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
  /** The same as `watch_config`. */
  readonly watchConfig: boolean;
  /** Wins over `log.level`; null when it was not given. */
  readonly logLevel: LogLevel | null;
}

/** Runs a command and ships what it writes. */
export interface ExecArgs {
  readonly command: "exec";
  readonly configPaths: readonly string[];
  readonly requireHealthy: boolean;
  /** Show what the command writes, too. */
  readonly tee: boolean;
  readonly logLevel: LogLevel | null;
  /** The program and its arguments: what stands behind "--", at least one word, the first not empty. */
  readonly words: readonly string[];
}

export interface SchemaArgs {
  readonly command: "schema";
}

export interface CompletionArgs {
  readonly command: "completion";
  readonly shell: Shell;
}

/** What is stored of each file for each sink. */
export interface PositionsArgs {
  readonly command: "positions";
  readonly configPaths: readonly string[];
  /** For programs instead of people. */
  readonly json: boolean;
}

/** Takes what is stored of one sink out of data_dir. */
export interface ForgetSinkArgs {
  readonly command: "positions forget";
  readonly configPaths: readonly string[];
  /** Not empty. */
  readonly sink: string;
}

export interface AuditArgs {
  readonly command: "audit";
  readonly configPaths: readonly string[];
  readonly json: boolean;
}

/** What is in the disk buffers, and whether they are whole. */
export interface LookAtBuffersArgs {
  readonly command: "buffer ls" | "buffer verify";
  readonly configPaths: readonly string[];
  /** Null: of all sinks. */
  readonly sink: string | null;
  readonly json: boolean;
}

/** The events of a disk buffer, to stdout. */
export interface ExportBufferArgs {
  readonly command: "buffer export";
  readonly configPaths: readonly string[];
  /** Not empty. */
  readonly sink: string;
  readonly format: "lines" | "json";
  /** Also those that are delivered and still there. */
  readonly all: boolean;
}

/** `buffer repair --journal`. */
export interface RepairJournalArgs {
  readonly command: "buffer repair";
  readonly configPaths: readonly string[];
}

/** The same for the disk buffer of a sink. */
export interface RepairBufferArgs {
  readonly command: "buffer repair --sink";
  readonly configPaths: readonly string[];
  /** Not empty. */
  readonly sink: string;
}

export interface HelpArgs {
  readonly command: "help";
  /** The command to explain, or the first word of several ("buffer"); null for the program. */
  readonly topic: string | null;
}

export interface VersionArgs {
  readonly command: "version";
}

/** What the words after the program's name ask for. Never throws. */
export function parseArgs(argv: readonly string[]): ParsedArgs {
  if (argv[0] === "help") return helpAbout(argv.slice(1));
  const chosen = chooseCommand(argv);
  if (!("wordCount" in chosen)) return chosen;
  const { command } = chosen;
  const values = new Map<string, string[]>();
  const separator = command.rest === undefined ? -1 : argv.indexOf("--");
  const own = separator === -1 ? argv : argv.slice(0, separator);
  const problem = collectFlags(own.slice(chosen.wordCount), command, values);
  // Help is given even when the rest of the line is wrong.
  if (values.has("help")) return { command: "help", topic: command === commands[0] ? null : command.name };
  if (problem !== null) return problem;
  if (values.has("version")) return { command: "version" };
  const rest = separator === -1 ? [] : argv.slice(separator + 1);
  return checkRequired(command, values) ?? checkRest(command, rest) ?? buildArgs(command, values, rest);
}

interface ChosenCommand {
  readonly command: CommandSpec;
  /** Words of the line that are its name. */
  readonly wordCount: number;
}

/** The command that the first words name; the longest name wins: "positions forget", not "positions". */
function chooseCommand(argv: readonly string[]): ChosenCommand | HelpArgs | UsageError {
  const firstFlag = argv.findIndex((each) => each.startsWith("-"));
  const [first, second] = firstFlag === -1 ? argv : argv.slice(0, firstFlag);
  if (first === undefined) return { command: commands[0]!, wordCount: 0 };
  const family = commandFamily(first);
  if (second !== undefined && family.some((each) => each.name !== first)) {
    const command = family.find((each) => each.name === `${first} ${second}`);
    return command === undefined ? unknownCommand(second, first) : { command, wordCount: 2 };
  }
  const command = family.find((each) => each.name === first);
  if (command !== undefined) return { command, wordCount: 1 };
  if (family.length === 0) return unknownCommand(first, undefined, second);
  if (argv.includes("--help") || argv.includes("-h")) return { command: "help", topic: first };
  return usageError(`Command "${first}" lacks its second word`, `write ${usageOf(family[0]!)}`);
}

/** Every required flag is there, once where only one makes sense, and has a value. */
function checkRequired(command: CommandSpec, values: ReadonlyMap<string, string[]>): UsageError | null {
  if (command.name === "buffer repair" && values.has("journal") === values.has("sink")) {
    return usageError(
      values.has("sink")
        ? 'Flags "--journal" and "--sink" do not go together'
        : "It is not said what is to be repaired",
      'write --journal for the journal, or --sink NAME for the disk buffer of a sink; "shipper buffer verify" says whether that one is damaged',
    );
  }
  for (const flag of command.flags) {
    const list = values.get(flag.name);
    if (flag.required !== true && (flag.isSingle !== true || list === undefined)) continue;
    const problem = flag.name === "config"
      ? checkConfigPaths(list ?? [], command)
      : checkOnce(flag, list, command);
    if (problem !== null) return problem;
  }
  return null;
}

function checkRest(command: CommandSpec, rest: readonly string[]): UsageError | null {
  if (command.rest === undefined || (rest[0] ?? "") !== "") return null;
  const message = rest.length === 0 ? "No command was named" : "The command has an empty name";
  return usageError(`${message} behind "--"`, `write ${usageOf(command)}`);
}

function checkOnce(
  flag: FlagSpec,
  list: readonly string[] | undefined,
  command: CommandSpec,
): UsageError | null {
  const name = `--${flag.name}`;
  if (list === undefined) return usageError(`Flag "${name}" is missing`, `write ${usageOf(command)}`);
  if (flag.value === undefined) return null;
  if (list.includes("")) return usageError(`Flag "${name}" has an empty value`, `write ${labelOf(flag)}`);
  return list.length > 1 ? usageError(`Flag "${name}" was given twice`, `write ${labelOf(flag)} once`) : null;
}

function checkConfigPaths(paths: readonly string[], command: CommandSpec): UsageError | null {
  // Without what may be left out, and "run" goes without saying.
  const call = usageOf(command).replace("shipper run", "shipper").replace(/ \[.*$/u, "");
  if (paths.length === 0) {
    return usageError("No configuration was named", `${call}; shipper --help lists the flags`);
  }
  if (paths.includes("")) return usageError('Flag "--config" has an empty value', call);
  const twice = paths.find((each, index) => paths.indexOf(each) !== index);
  return twice === undefined
    ? null
    : usageError(`Configuration "${twice}" was named twice`, "name each file once");
}

function buildArgs(
  command: CommandSpec,
  values: ReadonlyMap<string, string[]>,
  words: readonly string[],
): ParsedArgs {
  const configPaths = values.get("config")!;
  const requireHealthy = values.has("require-healthy");
  const logLevel = (values.get("log-level")?.at(-1) ?? null) as LogLevel | null;
  switch (command.name) {
    case "buffer ls":
    case "buffer verify":
      return {
        command: command.name,
        configPaths,
        sink: values.get("sink")?.[0] ?? null,
        json: values.has("json"),
      };
    case "dlq ls":
    case "dlq show":
    case "dlq replay":
      return letterArgs(command.name, configPaths, values);
    case "buffer export":
      return {
        command: "buffer export",
        configPaths,
        sink: values.get("sink")![0]!,
        format: (values.get("format")?.at(-1) ?? "lines") as ExportBufferArgs["format"],
        all: values.has("all"),
      };
    case "buffer repair": {
      const [sink] = values.get("sink") ?? [];
      return sink === undefined
        ? { command: "buffer repair", configPaths }
        : { command: "buffer repair --sink", configPaths, sink };
    }
    case "validate":
    case "check":
    case "config show":
    case "positions":
    case "audit":
      return { command: command.name, configPaths, json: values.has("json") };
    case "positions forget":
      return { command: "positions forget", configPaths, sink: values.get("sink")![0]! };
    case "exec":
      return { command: "exec", configPaths, requireHealthy, tee: values.has("tee"), logLevel, words };
    case "schema":
      return { command: "schema" };
    case "generate":
      return {
        command: "generate",
        sources: values.get("sources")?.at(-1)?.split(",") ?? ["file"],
        sinks: values.get("sinks")?.at(-1)?.split(",") ?? ["kafka"],
      };
    case "completion bash":
    case "completion zsh":
    case "completion fish":
      return { command: "completion", shell: command.name.split(" ")[1] as Shell };
    default:
      return {
        command: "run",
        configPaths,
        requireHealthy,
        once: values.has("once"),
        dryRun: values.has("dry-run"),
        watchConfig: values.has("watch-config"),
        logLevel,
      };
  }
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
      problem ??= usageError(
        `Cannot use the word "${word}"`,
        command.rest !== undefined
          ? `the command goes behind --: ${usageOf(command)}`
          : word === "--"
          ? "a command is run by shipper exec --config FILE -- COMMAND"
          : commandFamily(word).length > 0
          ? `the command comes first: ${usageOf(commandFamily(word)[0]!)}`
          : `a configuration is named by --config ${word}`,
      );
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
    } else {
      problem ??= checkChoices(flag, value);
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

/** A word that is no command; behind `family` it is the second one. `next`: the word behind it. */
function unknownCommand(word: string, family?: string, next?: string): UsageError {
  const prefix = family === undefined ? "" : `${family} `;
  const names = commands.map((each) => each.name).filter((each) => each.startsWith(prefix));
  const near = nearest(word, names.map((each) => each.slice(prefix.length).split(" ")[0]!));
  const meant = near === null ? undefined : names.find((each) => each === `${near} ${next}`) ??
    names.find((each) => each.startsWith(prefix + near));
  const hint = meant !== undefined
    ? `did you mean "shipper ${meant}"?`
    : /[./]/u.test(word)
    ? `a configuration is named by --config ${word}`
    : family === undefined
    ? `the commands are: ${names.join(", ")}`
    : `write ${usageOf(commandFamily(family)[0]!)}`;
  return usageError(`There is no command "${prefix}${word}"`, hint);
}

function helpAbout(words: readonly string[]): ParsedArgs {
  const [first, second] = words;
  if (first === undefined) return { command: "help", topic: null };
  if (commandFamily(first).length === 0) return unknownCommand(first);
  if (second === undefined || second.startsWith("-")) return { command: "help", topic: first };
  const topic = `${first} ${second}`;
  return commandFamily(topic).length === 0 ? unknownCommand(second, first) : { command: "help", topic };
}
