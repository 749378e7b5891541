import type { OptionGroup } from "../../src/config/option.ts";

/**
 * A configuration that is complete but for what the line (or lines) adds: the line stands in a table of the group, with an example for every
 * required option but `key`.
 */
export function completeConfig(group: OptionGroup, key: string, line: string): string {
  const required = Object.entries(group.options)
    .filter(([name, option]) => option.required && name !== key)
    .map(([name, option]) => `${name} = ${option.example}\n`).join("");
  const isSource = group.table.startsWith("sources");
  const isSink = group.table.startsWith("sinks");
  const source = isSource
    ? `[sources.app]\n${line}${required}`
    : '[sources.app]\ntype = "file"\ninclude = ["/x"]\n';
  const sink = isSink ? `[sinks.s]\n${line}${required}` : '[sinks.s]\ntype = "console"\ninputs = ["app"]\n';
  const top = isSource || isSink ? "" : `${group.table === "" ? "" : `[${group.table}]\n`}${line}`;
  return `${top}${source}${sink}`;
}
