import { commands, labelOf, usageOf } from "../../src/cli/commands.ts";
import { EXIT_CODES } from "../../src/cli/help.ts";

/** The man page shipper(1), in man(7), by what commands.ts declares. `time`: seconds since the epoch. */
export function manPage(version: string, time: number): string {
  const date = new Date(time * 1000).toISOString().slice(0, 10);
  const lines = [
    `.TH SHIPPER 1 "${date}" "shipper ${version}" "User Commands"`,
    ".SH NAME",
    "shipper \\- ships log files and standard input to Apache Kafka",
    ".SH SYNOPSIS",
    ...commands.flatMap((each) => [".br", `.B ${escape(usageOf(each))}`]).slice(1),
    ".SH DESCRIPTION",
    escape(
      "Reads lines from files, standard input or a command's output, shapes each into an event, buffers, and delivers to Apache Kafka, " +
        "every line of a file exactly once.",
    ),
    escape("What it does is said by a configuration file in TOML; --config may be given several times."),
    ".SH COMMANDS",
  ];
  for (const command of commands) {
    lines.push(`.SS ${escape(command.name)}`, escape(command.doc));
    for (const flag of command.flags) {
      const short = flag.short === undefined ? "" : `-${flag.short}, `;
      lines.push(".TP", `.B ${escape(short + labelOf(flag))}`, escape(flag.doc));
    }
    for (const example of command.examples) lines.push(".PP", ".EX", escape(example), ".EE");
  }
  lines.push(".SH EXIT STATUS");
  for (const [code, meaning] of EXIT_CODES) lines.push(".TP", `.B ${escape(code)}`, escape(meaning));
  lines.push(".SH FILES");
  for (const [path, meaning] of FILES) lines.push(".TP", `.I ${escape(path)}`, escape(meaning));
  lines.push(
    ".SH SEE ALSO",
    escape(
      "The documents in /usr/share/doc/shipper, first of all configuration.md, delivery.md and tailing.md.",
    ),
  );
  return lines.join("\n") + "\n";
}

const FILES: readonly (readonly [string, string])[] = [
  ["/etc/shipper/shipper.toml", "the configuration of the service"],
  ["/etc/shipper/environment", "variables for it, for example secrets: root's, mode 0600"],
  ["/var/lib/shipper", "its state: positions, journal, buffers"],
];

/** A line of text as roff wants it: no escapes, no requests, hyphens that can be copied. */
function escape(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^(['.])/u, "\\&$1");
}
