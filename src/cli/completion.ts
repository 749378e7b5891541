import type { Shell } from "./commands.ts";
import { bashCompletion } from "./completion_bash.ts";
import { fishCompletion } from "./completion_fish.ts";
import { zshCompletion } from "./completion_zsh.ts";

/**
 * `shipper completion`: a script for the shell, with everything that commands.ts declares in it, so that completing starts no shipper. It
 * offers commands, flags, choices and files; behind "--" it is the shell's own completion.
 */
export function completionScript(shell: Shell): string {
  switch (shell) {
    case "bash":
      return bashCompletion();
    case "zsh":
      return zshCompletion();
    case "fish":
      return fishCompletion();
  }
}
