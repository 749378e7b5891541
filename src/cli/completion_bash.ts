import {
  type CompletionStep,
  completionSteps,
  shellQuote,
  spellingsOf,
  valueKind,
} from "./completion_words.ts";

/** Needs nothing of the package bash-completion, and works from bash 3.2 on. */
export function bashCompletion(): string {
  return `# Completion of shipper for bash. Made by: shipper completion bash
_shipper() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command= next= flags= kind= values= word i
  local IFS=$' \\t\\n'
  COMPREPLY=()
  # "--flag=value" is three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ \${COMP_WORDS[i]} == -- ]]; then
      compopt -o default 2>/dev/null
      ((i + 1 == COMP_CWORD)) && COMPREPLY=($(compgen -c -- "$cur"))
      return
    fi
  done
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -* ]] && break
    command+="\${command:+ }$word"
  done
  case $command in
${completionSteps().map(stepCase).join("\n")}
  esac
  case $kind in
    file)
      IFS=$'\\n'
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -f -- "$cur"))
      ;;
    choice) COMPREPLY=($(compgen -W "$values" -- "$cur")) ;;
    list)
      word=
      [[ $cur == *,* ]] && word=\${cur%,*},
      compopt -o nospace 2>/dev/null
      COMPREPLY=($(compgen -P "$word" -W "$values" -- "\${cur##*,}"))
      ;;
    any) ;;
    *)
      # A command comes before all flags.
      ((i == COMP_CWORD)) || next=
      if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
      else
        COMPREPLY=($(compgen -W "$next" -- "$cur"))
      fi
      ;;
  esac
}
complete -F _shipper shipper
`;
}

function stepCase({ words, next, flags }: CompletionStep): string {
  const lines = [
    `    ${shellQuote(words)})`,
    `      next=${shellQuote(next.map((each) => each.word).join(" "))}`,
    `      flags=${shellQuote(flags.flatMap(spellingsOf).join(" "))}`,
  ];
  const withValue = flags.filter((each) => each.value !== undefined);
  if (withValue.length > 0) {
    lines.push("      case $prev in");
    for (const flag of withValue) {
      const values = flag.choices === undefined ? "" : ` values=${shellQuote(flag.choices.join(" "))}`;
      lines.push(`        ${spellingsOf(flag).join(" | ")}) kind=${valueKind(flag)}${values} ;;`);
    }
    lines.push("      esac");
  }
  return [...lines, "      ;;"].join("\n");
}
