import { commandFamily, commands, type FlagSpec, labelOf, usageOf } from "./commands.ts";

export const EXIT_CODES = [
  ["0", "everything is delivered, or what is left is safe in its file"],
  ["1", "data was lost or dropped under --once, or the run failed"],
  ["2", "wrong usage of the command line"],
  ["78", "wrong configuration, failed health check with --require-healthy, or data_dir locked or unusable"],
  ["130, 143", "ended by a second signal"],
  [
    "126, 127",
    "exec: the command cannot be run, or is not there; otherwise the command's own, unless that is 0",
  ],
] as const;

/** The help of a command, of the commands that begin with a word ("buffer"), or of the program (null). */
export function helpText(topic: string | null): string {
  const lines = topic === null ? programHelp() : familyHelp(topic);
  return lines.join("\n") + "\n";
}

function programHelp(): string[] {
  return [
    "shipper: ships log files and standard input to Apache Kafka",
    "",
    "Usage:",
    "  shipper [run] --config FILE [flags]",
    ...commands.slice(1).map((each) => `  ${usageOf(each)}`),
    "",
    "Commands:",
    ...columns(commands.map((each) => [each.name, each.doc])),
    "",
    "Flags:",
    ...flagLines(commands[0]!.flags),
    "",
    "Examples:",
    ...commands.flatMap((each) => each.examples).map((each) => `  ${each}`),
    "",
    "Exit codes:",
    ...columns(EXIT_CODES),
  ];
}

function familyHelp(topic: string): string[] {
  const family = commandFamily(topic);
  const isHelp = (flag: FlagSpec) => Number(flag.name === "help");
  const flags = [...new Set(family.flatMap((each) => each.flags))].sort((a, b) => isHelp(a) - isHelp(b));
  return [
    ...family.map((each) => `shipper ${each.name}: ${each.doc}`),
    "",
    "Usage:",
    ...family.map((each) => `  ${usageOf(each)}`),
    "",
    "Flags:",
    ...flagLines(flags),
    "",
    "Examples:",
    ...family.flatMap((each) => each.examples).map((each) => `  ${each}`),
  ];
}

function flagLines(flags: readonly FlagSpec[]): string[] {
  return columns(flags.map((each) => {
    const short = each.short === undefined ? "    " : `-${each.short}, `;
    return [short + labelOf(each), each.doc];
  }));
}

function columns(rows: readonly (readonly [string, string] | readonly string[])[]): string[] {
  const width = Math.max(...rows.map((each) => each[0]!.length));
  return rows.map(([left, right]) => `  ${left!.padEnd(width)}  ${right}`);
}
