import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { commands, SHELLS } from "../../src/cli/commands.ts";
import { completionScript } from "../../src/cli/completion.ts";
import { testIf } from "../support/skip.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

const COMMAND_WORDS = [...new Set(commands.map((each) => each.name.split(" ")[0]!))].sort();
const RUN_FLAGS = commands[0]!.flags.map((each) => `--${each.name}`).sort();
const LEVELS = ["debug", "error", "info", "warn"];

/** A folder with files to complete: "a b.toml", "apps/", "other.txt". */
function folder(): TempDir {
  const dir = tempDir("completion");
  for (const shell of SHELLS) writeFileSync(dir.file(`completion.${shell}`), completionScript(shell));
  writeFileSync(dir.file("a b.toml"), "");
  writeFileSync(dir.file("other.txt"), "");
  mkdirSync(dir.file("apps"));
  return dir;
}

function linesOf(command: string[], cwd: string): string[] {
  const { stdout, stderr, exitCode } = Bun.spawnSync(command, { cwd });
  expect(stderr.toString()).toBe("");
  expect(exitCode).toBe(0);
  return stdout.toString().split("\n").filter((line) => line !== "").sort();
}

/** What the cursor's word, the last one, is completed to. The words are as bash splits them: "=" is one. */
function bashOffers(...words: string[]): string[] {
  using dir = folder();
  const script = 'source ./completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shipper; ' +
    'printf "%s\\n" "${COMPREPLY[@]}"';
  return linesOf(["bash", "--norc", "-c", script, "bash", "shipper", ...words], dir.path);
}

describe("bash", () => {
  test("the script can be read, and says who is completed", () => {
    using dir = folder();
    expect(linesOf(["bash", "-n", "completion.bash"], dir.path)).toEqual([]);
    const registered = linesOf(
      ["bash", "--norc", "-c", "source ./completion.bash; complete -p shipper"],
      dir.path,
    );
    expect(registered).toEqual(["complete -F _shipper shipper"]);
  });

  test("commands, and what follows a first word", () => {
    expect(bashOffers("")).toEqual(COMMAND_WORDS);
    expect(bashOffers("val")).toEqual(["validate"]);
    expect(bashOffers("completion", "")).toEqual(["bash", "fish", "zsh"]);
    expect(bashOffers("positions", "")).toEqual(["forget"]);
    expect(bashOffers("schema", "")).toEqual([]);
    expect(bashOffers("frobnicate", "")).toEqual([]);
  });

  test("flags of the command that is named, and no command behind a flag", () => {
    expect(bashOffers("--")).toEqual(RUN_FLAGS);
    expect(bashOffers("validate", "--")).toEqual(["--config", "--help", "--json"]);
    expect(bashOffers("positions", "forget", "--si")).toEqual(["--sink"]);
    expect(bashOffers("--once", "val")).toEqual([]);
    expect(bashOffers("buffer", "--")).toEqual([]);
  });

  test("choices, also behind an equals sign", () => {
    expect(bashOffers("--log-level", "")).toEqual(LEVELS);
    expect(bashOffers("--log-level", "=", "i")).toEqual(["info"]);
    expect(bashOffers("--log-level", "=")).toEqual(LEVELS);
  });

  test("the last place of a comma list", () => {
    expect(bashOffers("generate", "--sources", "")).toEqual(["file", "stdin"]);
    expect(bashOffers("generate", "--sinks", "kafka,c")).toEqual(["kafka,console"]);
  });

  test("files, with blanks in their names, for a configuration alone", () => {
    expect(bashOffers("-c", "a")).toEqual(["a b.toml", "apps"]);
    expect(bashOffers("config", "show", "--config", "=", "a ")).toEqual(["a b.toml"]);
    expect(bashOffers("positions", "forget", "--sink", "a")).toEqual([]);
  });

  test('behind "--" the shell completes by itself', () => {
    expect(bashOffers("exec", "--", "moun")).toContain("mount");
    expect(bashOffers("exec", "--", "ls", "--lo")).toEqual([]);
  });
});

/** What zsh's helpers are called with. */
function zshOffers(...words: string[]): string[] {
  using dir = folder();
  const script = `compdef() { print -r -- "compdef $*" }
    _arguments() { print -rl -- "$words" "$@" }
    _describe() { print -rl -- "\${(@P)4}" }
    _normal() { print -r -- "normal $words" }
    source ./completion.zsh
    words=("$@"); CURRENT=$#; _shipper`;
  return linesOf(["zsh", "-f", "-c", script, "zsh", "shipper", ...words], dir.path);
}

describe("zsh", () => {
  const hasZsh = Bun.which("zsh") !== null;
  testIf(hasZsh, "needs zsh", "the script can be read, and says who is completed", () => {
    using dir = folder();
    expect(linesOf(["zsh", "-f", "-n", "completion.zsh"], dir.path)).toEqual([]);
    expect(zshOffers("schema", "x")).toContain("compdef _shipper shipper");
  });

  testIf(hasZsh, "needs zsh", "commands, then flags with what they take", () => {
    const first = zshOffers("").filter((line) => !line.startsWith("compdef"));
    expect(first.map((line) => line.split(":")[0]!).sort()).toEqual(COMMAND_WORDS);
    const forget = zshOffers("positions", "forget", "-");
    expect(forget).toContain("shipper -");
    expect(forget).toContain(
      '*--config=[A configuration file, or "-" for standard input. Several are joined.]:FILE:_files',
    );
    expect(forget).toContain("*--sink=[The sink, by its name in \\[sinks.NAME\\].]:NAME: ");
    expect(zshOffers("--once", "").some((line) => line.endsWith(":LEVEL:(debug info warn error)"))).toBe(
      true,
    );
    expect(zshOffers("generate", "-").some((line) => line.endsWith(":KINDS:_sequence compadd - file stdin")))
      .toBe(true);
    expect(zshOffers("exec", "--", "ls", "-")).toContain("normal ls -");
  });
});

/** What fish offers for a line, without the descriptions. */
function fishOffers(line: string): string[] {
  using dir = folder();
  const script = "source ./completion.fish; complete -C $argv[1]";
  return linesOf(["fish", "--no-config", "-c", script, line], dir.path).map((each) => each.split("\t")[0]!);
}

describe("fish", () => {
  const hasFish = Bun.which("fish") !== null;
  testIf(hasFish, "needs fish", "commands, flags, choices and files", () => {
    expect(fishOffers("shipper ")).toEqual(COMMAND_WORDS);
    expect(fishOffers("shipper positions ")).toEqual(["forget"]);
    expect(fishOffers("shipper --")).toEqual(RUN_FLAGS);
    expect(fishOffers("shipper positions forget --si")).toEqual(["--sink"]);
    expect(fishOffers("shipper --once val")).toEqual([]);
    expect(fishOffers("shipper --log-level ")).toEqual(LEVELS);
    expect(fishOffers("shipper generate --sources stdin,f")).toEqual(["stdin,file"]);
    expect(fishOffers("shipper validate -c oth")).toEqual(["other.txt"]);
    expect(fishOffers("shipper validate oth")).toEqual([]);
    expect(fishOffers("shipper exec -- oth")).toEqual(["other.txt"]);
  });
});

test("every command, flag and choice is in every script", () => {
  for (const shell of SHELLS) {
    const script = completionScript(shell);
    for (const { name, flags } of commands) {
      expect(script, shell).toContain(`'${name}'`.replaceAll("'", shell === "fish" ? "\\'" : "'"));
      for (const flag of flags) {
        expect(script, `${shell}: ${name}`).toContain(
          shell === "fish" ? `-l ${flag.name}` : `--${flag.name}`,
        );
        if (flag.choices !== undefined) expect(script, shell).toContain(flag.choices.join(" "));
      }
    }
  }
});
