import type { FlagSpec } from "./commands.ts";
import { type CompletionStep, completionSteps, valueKind } from "./completion_words.ts";

/** For ~/.config/fish/completions/shipper.fish. */
export function fishCompletion(): string {
  return `# Completion of shipper for fish. Made by: shipper completion fish
function __shipper_words
    for word in (commandline -opc)[2..]
        string match -q -- '-*' $word; and break
        echo $word
    end
end

# The command that is named, whatever flags are behind it.
function __shipper_is
    contains -- -- (commandline -opc); and return 1
    set -l words (__shipper_words)
    test "$words" = "$argv[1]"
end

# The words of a command, with no flag behind them: a command comes before all flags.
function __shipper_ends
    set -l words (__shipper_words)
    set -l all (commandline -opc)
    __shipper_is $argv[1]; and test (count $all) -eq (math 1 + (count $words))
end

complete -c shipper -f
complete -c shipper -n 'contains -- -- (commandline -opc)' -F
${completionSteps().flatMap(stepLines).join("\n")}
`;
}

function stepLines({ words, next, flags }: CompletionStep): string[] {
  const when = (condition: string) =>
    `complete -c shipper -n ${fishQuote(`${condition} ${fishQuote(words)}`)}`;
  return [
    ...next.map(({ word, doc }) => `${when("__shipper_ends")} -a ${word} -d ${fishQuote(doc)}`),
    ...flags.map((flag) => `${when("__shipper_is")} ${flagArguments(flag)} -d ${fishQuote(flag.doc)}`),
  ];
}

function flagArguments(flag: FlagSpec): string {
  const names = `-l ${flag.name}${flag.short === undefined ? "" : ` -s ${flag.short}`}`;
  const choices = flag.choices?.join(" ") ?? "";
  switch (valueKind(flag)) {
    case "none":
      return names;
    case "file":
      return `${names} -r -F`;
    case "any":
      return `${names} -x`;
    case "choice":
      return `${names} -x -a ${fishQuote(choices)}`;
    case "list":
      return `${names} -x -a ${fishQuote(`(__fish_append , ${choices})`)}`;
  }
}

/** In single quotes, as fish reads them. */
function fishQuote(text: string): string {
  return `'${text.replace(/['\\]/gu, "\\$&")}'`;
}
