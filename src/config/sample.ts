import { presenceText, typeText } from "./docs.ts";
import type { Option, OptionGroup } from "./option.ts";
import { allGroups, sinkGroups, sourceGroups } from "./schema.ts";
import { tomlText } from "./toml_text.ts";

/** What a sample is made for: kinds by their `type`, each once. */
export interface SampleKinds {
  /** At least one. */
  readonly sources: readonly string[];
  readonly sinks: readonly string[];
}

/** Instead of the example of a required option: the topic's has a field, and an event without that field has no topic. */
const VALUES: Readonly<Record<string, string>> = { topic: '"logs"' };

/** Columns of a comment. */
const WIDTH = 100;

/**
 * A configuration to begin with, valid as it is: one table for each kind, named after it, and every sink takes every source. Required options
 * hold their example; all others are commented out, with what they do and their default. Throws for a kind that is not there.
 */
export function sampleConfiguration({ sources, sinks }: SampleKinds): string {
  const parts = [
    `# A configuration of shipper. What is commented out is not needed: it holds the default, or an example where
# the comment names another default.
#   check it:  shipper validate --config FILE
#   run it:    shipper --config FILE
`,
    ...allGroups.filter((each) => each.type === null).map(plainTable),
    ...sources.map((type) => component("sources", type, find(sourceGroups, type), VALUES)),
    ...sinks.map((type) => {
      const values = { ...VALUES, inputs: tomlText(sources) };
      return component("sinks", type, find(sinkGroups, type), values);
    }),
  ];
  return parts.join("\n");
}

function find(groups: ReadonlyMap<string, OptionGroup>, type: string): OptionGroup {
  const group = groups.get(type);
  if (group === undefined) throw new Error(`There is no kind "${type}"`);
  return group;
}

/** A table that need not be there: its header is commented out too, as [api] has an effect by being there. */
function plainTable(group: OptionGroup): string {
  const isTop = group.table === "";
  const header = isTop ? [] : [...comment(`${group.title}. ${group.doc}`), `# [${group.table}]`, ""];
  const lines = Object.entries(group.options).flatMap(([key, option]) => optionLines(key, option));
  return [...header, ...lines].join("\n");
}

function component(
  place: string,
  type: string,
  group: OptionGroup,
  values: Readonly<Record<string, string>>,
): string {
  const options = Object.entries(group.options);
  const required = options.filter(([, option]) => option.required);
  const others = options.filter(([, option]) => !option.required);
  return [
    ...comment(group.doc),
    `[${place}.${type}]`,
    ...required.flatMap(([key, option]) => [
      ...(key === "type" ? [] : comment(option.doc)),
      `${key} = ${values[key] ?? option.example}`,
    ]),
    "",
    ...others.flatMap(([key, option]) => optionLines(key, option)),
  ].join("\n");
}

/** An option that is commented out, and an empty line. */
function optionLines(key: string, option: Option<unknown>): string[] {
  const hasDefault = option.default !== null && option.default !== undefined;
  const facts = hasDefault ? typeText(option) : `${typeText(option)}; ${presenceText(option)}`;
  return [
    ...comment(option.doc),
    ...comment(facts.replaceAll("`", "")),
    `# ${key} = ${hasDefault ? tomlText(option.default) : option.example}`,
    "",
  ];
}

/** Text as lines of a comment. */
function comment(text: string): string[] {
  const lines: string[] = [];
  let line = "#";
  for (const word of text.split(/\s+/u)) {
    if (line !== "#" && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = "#";
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}
