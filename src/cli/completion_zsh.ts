import type { FlagSpec } from "./commands.ts";
import { type CompletionStep, completionSteps, shellQuote, valueKind } from "./completion_words.ts";

/** For a file _shipper in a folder of $fpath, or to be sourced after compinit. */
export function zshCompletion(): string {
  return `#compdef shipper
# Completion of shipper for zsh. Made by: shipper completion zsh
_shipper() {
  local command= word
  local -a next flags
  local -i i rest=\${words[(i)--]}
  if (( rest < CURRENT )); then
    words=("\${(@)words[rest+1,-1]}")
    (( CURRENT -= rest ))
    _normal
    return
  fi
  for (( i = 2; i < CURRENT; i++ )); do
    word=$words[i]
    [[ $word == -* ]] && break
    command+="\${command:+ }$word"
  done
  case $command in
${completionSteps().map(stepCase).join("\n")}
    *) return 1 ;;
  esac
  # A command comes before all flags.
  if (( i == CURRENT && $#next )) && [[ $words[CURRENT] != -* ]]; then
    _describe -t commands command next
    return
  fi
  words=(shipper "\${(@)words[i,-1]}")
  (( CURRENT -= i - 2 ))
  (( $#flags )) && _arguments -s : $flags
}
if [[ $funcstack[1] == _shipper ]]; then
  _shipper "$@"
else
  compdef _shipper shipper
fi
`;
}

function stepCase({ words, next, flags }: CompletionStep): string {
  const list = (items: readonly string[]) => items.map((each) => `        ${shellQuote(each)}`).join("\n");
  const lines = [`    ${shellQuote(words)})`];
  if (next.length > 0) {
    // A colon ends the word.
    lines.push("      next=(", list(next.map(({ word, doc }) => `${word}:${doc}`)), "      )");
  }
  if (flags.length > 0) lines.push("      flags=(", list(flags.flatMap(specsOf)), "      )");
  return [...lines, "      ;;"].join("\n");
}

/** A flag as _arguments declares it, once for each spelling. One with a value may be given again. */
function specsOf(flag: FlagSpec): string[] {
  const doc = `[${flag.doc.replace(/[\\\[\]]/gu, "\\$&")}]`;
  const kind = valueKind(flag);
  const choices = flag.choices?.join(" ") ?? "";
  const action = {
    none: "",
    file: ":_files",
    choice: `:(${choices})`,
    any: ": ",
    list: `:_sequence compadd - ${choices}`,
  }[kind];
  const value = kind === "none" ? "" : `:${flag.value}${action}`;
  const again = kind === "none" ? "" : "*";
  const long = `${again}--${flag.name}${kind === "none" ? "" : "="}${doc}${value}`;
  return flag.short === undefined
    ? [long]
    : [long, `${again}-${flag.short}${kind === "none" ? "" : "+"}${doc}${value}`];
}
