import type { LogLevel } from "../config/config.ts";
import { sinkGroups, sourceGroups } from "../config/schema.ts";

/** The command line as data: what args.ts parses, what help.ts prints, and what an unknown word is compared with. */
export interface CommandSpec {
  /** One word, or two: "positions forget". */
  readonly name: string;
  readonly doc: string;
  /** In the order of the help. */
  readonly flags: readonly FlagSpec[];
  /** What has to follow behind "--", as the usage shows it. */
  readonly rest?: string;
  readonly examples: readonly string[];
}

export interface FlagSpec {
  readonly name: string;
  readonly short?: string;
  /** Name of the value in the help; without it the flag takes none. For "FILE" shells offer files. */
  readonly value?: string;
  readonly choices?: readonly string[];
  /** The value is a comma list of choices, each once. */
  readonly isList?: boolean;
  /** The command means nothing without it. */
  readonly required?: boolean;
  /** May be left out, and makes sense once alone. */
  readonly isSingle?: boolean;
  readonly doc: string;
}

const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

const configFlag: FlagSpec = {
  name: "config",
  short: "c",
  value: "FILE",
  required: true,
  doc: 'A configuration file, or "-" for standard input. Several are joined.',
};
const helpFlag: FlagSpec = { name: "help", short: "h", doc: "Print this help." };
const versionFlag: FlagSpec = { name: "version", short: "V", doc: "Print the version." };
const jsonFlag: FlagSpec = { name: "json", doc: "Print JSON, for programs." };
const sinkFlag: FlagSpec = {
  name: "sink",
  value: "NAME",
  required: true,
  doc: "The sink, by its name in [sinks.NAME].",
};
const oneSinkFlag: FlagSpec = {
  name: "sink",
  value: "NAME",
  isSingle: true,
  doc: "The buffer of this sink alone.",
};

const requireHealthyFlag: FlagSpec = {
  name: "require-healthy",
  doc: "Exit with code 78 when a sink's health check fails at start.",
};
const logLevelFlag: FlagSpec = {
  name: "log-level",
  value: "LEVEL",
  choices: LOG_LEVELS,
  doc: `${LOG_LEVELS.join(", ")}; wins over log.level.`,
};

function kindsFlag(name: string, kinds: readonly string[], otherwise: string): FlagSpec {
  return {
    name,
    value: "KINDS",
    choices: kinds,
    isList: true,
    doc: `Kinds of ${name}, a comma list of: ${kinds.join(", ")}. Without it: ${otherwise}.`,
  };
}

/** Shells that `shipper completion` knows. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = typeof SHELLS[number];

const COMPLETION_EXAMPLES: Readonly<Record<Shell, string>> = {
  bash: "shipper completion bash > /etc/bash_completion.d/shipper",
  zsh: "shipper completion zsh > ~/.zfunc/_shipper",
  fish: "shipper completion fish > ~/.config/fish/completions/shipper.fish",
};

/** All commands; the first is meant when none is named. */
export const commands: readonly CommandSpec[] = [
  {
    name: "run",
    doc: "Ship until the sources have ended or a signal comes. Meant when no command is named.",
    flags: [
      configFlag,
      { name: "once", doc: "Read what is there, deliver all of it, and exit." },
      { name: "dry-run", doc: "Print the records that would be produced, and produce none." },
      requireHealthyFlag,
      {
        name: "watch-config",
        doc: "Take a changed configuration over when its files change, as SIGHUP does.",
      },
      logLevelFlag,
      helpFlag,
      versionFlag,
    ],
    examples: ["shipper --config shipper.toml", "shipper --config shipper.toml --once"],
  },
  {
    name: "exec",
    doc: "Run a command, ship what it writes through the source of type stdin, and exit as it does.",
    flags: [
      configFlag,
      { name: "tee", doc: "Pass what the command writes on to stdout and stderr, too." },
      requireHealthyFlag,
      logLevelFlag,
      helpFlag,
    ],
    rest: "COMMAND [ARG...]",
    examples: ["shipper exec --config shipper.toml -- ./app --port 80"],
  },
  {
    name: "validate",
    doc: "Check a configuration, open nothing else, and list every problem.",
    flags: [configFlag, jsonFlag, helpFlag],
    examples: ["shipper validate --config shipper.toml"],
  },
  {
    name: "check",
    doc: "Check a configuration and all it needs: brokers, topics, rights, files, limits.",
    flags: [configFlag, jsonFlag, helpFlag],
    examples: ["shipper check --config shipper.toml"],
  },
  {
    name: "config show",
    doc: "Show every option with its value and where that comes from. Secrets are masked.",
    flags: [configFlag, jsonFlag, helpFlag],
    examples: ["shipper config show --config shipper.toml"],
  },
  {
    name: "generate",
    doc: "Print a configuration to begin with, every option in it with a comment.",
    flags: [
      kindsFlag("sources", [...sourceGroups.keys()], "file"),
      kindsFlag("sinks", [...sinkGroups.keys()], "kafka"),
      helpFlag,
    ],
    examples: ["shipper generate --sources file,stdin --sinks kafka > shipper.toml"],
  },
  {
    name: "schema",
    doc: "Print the JSON Schema of the configuration, for editors.",
    flags: [helpFlag],
    examples: ["shipper schema > shipper.schema.json"],
  },
  ...SHELLS.map((shell): CommandSpec => ({
    name: `completion ${shell}`,
    doc: `Print the completion of this command line for ${shell}.`,
    flags: [helpFlag],
    examples: [COMPLETION_EXAMPLES[shell]],
  })),
  {
    name: "positions",
    doc: "Show how far each file is delivered to each sink: position, holes, size, lag.",
    flags: [configFlag, jsonFlag, helpFlag],
    examples: ["shipper positions --config shipper.toml"],
  },
  {
    name: "positions forget",
    doc: "Forget what is stored of a sink that left the configuration. No shipper may run.",
    flags: [
      configFlag,
      sinkFlag,
      helpFlag,
    ],
    examples: ["shipper positions forget --config shipper.toml --sink events"],
  },
  {
    name: "audit",
    doc: "Account for every byte of every file: delivered, in doubt, dropped, lost, or not read yet.",
    flags: [configFlag, jsonFlag, helpFlag],
    examples: ["shipper audit --config shipper.toml --json"],
  },
  {
    name: "dlq ls",
    doc: "Show the dead letters of the sinks: when, why, from where.",
    flags: [configFlag, { ...oneSinkFlag, doc: "The dead letters of this sink alone." }, jsonFlag, helpFlag],
    examples: ["shipper dlq ls --config shipper.toml"],
  },
  {
    name: "dlq show",
    doc: "Show one dead letter whole.",
    flags: [
      configFlag,
      { name: "id", value: "ID", required: true, doc: 'The letter, by its id in "shipper dlq ls".' },
      { ...oneSinkFlag, doc: "Look among the dead letters of this sink alone." },
      jsonFlag,
      helpFlag,
    ],
    examples: ["shipper dlq show --config shipper.toml --id 0123456789abcdef"],
  },
  {
    name: "dlq replay",
    doc: "Send the dead letters of a sink again, each once: to its topic, or to another one.",
    flags: [
      configFlag,
      sinkFlag,
      { name: "to", value: "TOPIC", isSingle: true, doc: "Send all of them to this topic." },
      jsonFlag,
      helpFlag,
    ],
    examples: ["shipper dlq replay --config shipper.toml --sink events"],
  },
  {
    name: "buffer ls",
    doc: "Show what the disk buffers hold: events that are not delivered, by file.",
    flags: [configFlag, oneSinkFlag, jsonFlag, helpFlag],
    examples: ["shipper buffer ls --config shipper.toml"],
  },
  {
    name: "buffer verify",
    doc: "Read the disk buffers whole, and name every damage and what is lost by it.",
    flags: [configFlag, oneSinkFlag, jsonFlag, helpFlag],
    examples: ["shipper buffer verify --config shipper.toml"],
  },
  {
    name: "buffer export",
    doc: "Write the events of a disk buffer that are not delivered to standard output, in order.",
    flags: [
      configFlag,
      sinkFlag,
      {
        name: "format",
        value: "FORMAT",
        choices: ["lines", "json"],
        doc: "lines: values, each with a newline. json: an object a line, with key, topic, file.",
      },
      { name: "all", doc: "Also events that are delivered and still there." },
      helpFlag,
    ],
    examples: ["shipper buffer export --config shipper.toml --sink events --format json"],
  },
  {
    name: "buffer repair",
    doc: "Set what is damaged in data_dir aside: of the journal, or of a disk buffer.",
    flags: [
      configFlag,
      { name: "journal", doc: "Repair the journal. What it does is printed." },
      {
        name: "sink",
        value: "NAME",
        isSingle: true,
        doc: "Repair the disk buffer of this sink. What is lost is printed.",
      },
      helpFlag,
    ],
    examples: [
      "shipper buffer repair --journal --config shipper.toml",
      "shipper buffer repair --sink events --config shipper.toml",
    ],
  },
];

/** The commands whose name begins with these words, in their order: "positions" gives "positions" and "positions forget". */
export function commandFamily(words: string): readonly CommandSpec[] {
  return commands.filter((each) => each.name === words || each.name.startsWith(`${words} `));
}

/** How a command is called, with its flags: "shipper positions --config FILE [--json]". */
export function usageOf(command: CommandSpec): string {
  const own = command.flags.filter((each) => each !== helpFlag && each !== versionFlag);
  const required = own.filter((each) => each.required === true).map(labelOf);
  const optional = own.filter((each) => each.required !== true).map((each) => `[${labelOf(each)}]`);
  const rest = optional.length > FLAGS_NAMED_MAX ? ["[flags]"] : optional;
  const behind = command.rest === undefined ? [] : ["--", command.rest];
  return ["shipper", command.name, ...required, ...rest, ...behind].join(" ");
}

/** A usage names that many flags that may be left out; more of them are "[flags]". */
const FLAGS_NAMED_MAX = 3;

/** "--config FILE". */
export function labelOf(flag: FlagSpec): string {
  return `--${flag.name}${flag.value === undefined ? "" : ` ${flag.value}`}`;
}
