import { commandFamily, commands, type FlagSpec } from "./commands.ts";

/** What can follow a part of a command's name. */
export interface CompletionStep {
  /** "", "positions", "positions forget". */
  readonly words: string;
  /** Words that may come next, with what they are. */
  readonly next: readonly { readonly word: string; readonly doc: string }[];
  /** Flags of the command that is named so; none where it is only a part. */
  readonly flags: readonly FlagSpec[];
}

/** Every beginning of a command line, without flags. */
export function completionSteps(): CompletionStep[] {
  const beginnings = new Set([""]);
  for (const { name } of commands) {
    beginnings.add(name.split(" ")[0]!);
    beginnings.add(name);
  }
  return [...beginnings].map((words) => ({ words, next: nextWords(words), flags: flagsOf(words) }));
}

function nextWords(words: string): CompletionStep["next"] {
  const prefix = words === "" ? "" : `${words} `;
  const next = new Map<string, string>();
  for (const { name, doc } of commands) {
    if (!name.startsWith(prefix)) continue;
    const word = name.slice(prefix.length).split(" ")[0]!;
    // The first word of several commands is explained by their second words.
    const family = commandFamily(prefix + word);
    const isWhole = family.some((each) => each.name === prefix + word) || family.length === 1;
    if (!next.has(word)) {
      next.set(word, isWhole ? doc : `${family.map((each) => each.name.split(" ").at(-1)).join(", ")}.`);
    }
  }
  return [...next].map(([word, doc]) => ({ word, doc }));
}

/** Without a command "run" is meant. */
function flagsOf(words: string): readonly FlagSpec[] {
  return words === "" ? commands[0]!.flags : commands.find((each) => each.name === words)?.flags ?? [];
}

/** What the value of a flag is completed to. */
export function valueKind(flag: FlagSpec): "none" | "file" | "choice" | "list" | "any" {
  if (flag.value === undefined) return "none";
  if (flag.choices !== undefined) return flag.isList === true ? "list" : "choice";
  return flag.value === "FILE" ? "file" : "any";
}

/** "--config" and "-c". */
export function spellingsOf(flag: FlagSpec): string[] {
  return [`--${flag.name}`, ...(flag.short === undefined ? [] : [`-${flag.short}`])];
}

/** In single quotes, as bash and zsh read them. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
