import { homedir, hostname } from "node:os";
import { isatty } from "node:tty";
import { parseArgs } from "./src/cli/args.ts";
import type { CommandContext } from "./src/cli/command_context.ts";
import type { ExecProcess } from "./src/cli/exec.ts";
import { HangUps } from "./src/cli/hang_up.ts";
import { helpText } from "./src/cli/help.ts";
import { comesFromTerminal } from "./src/cli/terminal_signal.ts";
import { renderUsageError } from "./src/cli/usage_error.ts";
import { stdoutFailure, writeStderr, writeStdout } from "./src/cli/standard_output.ts";
import { version } from "./src/cli/version.ts";
import { armCrashPoints } from "./src/telemetry/crash_point.ts";
import { armTestKnobs } from "./src/telemetry/test_knobs.ts";
import { StderrWriter } from "./src/telemetry/stderr_writer.ts";

const EXIT_USAGE = 2;
/** What a command printed is not where it should be. */
const EXIT_OUTPUT = 1;

/** A reader of stderr that does not read is not waited for longer. */
const STDERR_FLUSH_MAX_MS = 500;

const stderr = new StderrWriter();

const context: ExecProcess = {
  version: version(),
  env: process.env,
  hostname: hostname(),
  isRoot: process.getuid?.() === 0,
  home: homeDir(),
  xdgStateHome: process.env["XDG_STATE_HOME"],
  stdin: () => Bun.stdin.stream(),
  stderr,
  terminalColumns: () => process.stderr.columns,
  now: Date.now,
  random: Math.random,
  onSignal: (callback) => {
    process.on("SIGTERM", () => callback("SIGTERM"));
    process.on("SIGINT", () => callback("SIGINT"));
  },
  onHangUp: (callback) => {
    const hangUps = new HangUps();
    process.on("SIGHUP", () => callback(hangUps.take()));
  },
  onEverySignal: (names, callback) => {
    for (const name of names) process.on(name, () => callback(name));
  },
  comesFromTerminal,
  exit: (code) => process.exit(code),
};

const commandContext: CommandContext = {
  ...context,
  stdout: writeStdout,
  stderr: writeStderr,
  color: stderr.isTerminal,
};

/** Undefined for a user that has none: one that is not in /etc/passwd, with no HOME either, as in a container. */
function homeDir(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined; // the configuration has to name data_dir then, and says so
  }
}

/** Each command is imported when it is called: what it needs alone is not loaded for the others. */
async function main(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv);
  switch (args.command) {
    case "help":
      writeStdout(helpText(args.topic));
      return 0;
    case "version":
      writeStdout(`shipper ${context.version}\n`);
      return 0;
    case "usage-error":
      writeStderr(renderUsageError(args));
      return EXIT_USAGE;
    case "validate":
      return await (await import("./src/cli/validate.ts")).validate(args, context, commandContext);
    case "check":
      return await (await import("./src/cli/check.ts")).check(args, {
        ...commandContext,
        stdoutColor: isatty(1) && !process.env["NO_COLOR"],
      });
    case "config show":
      return await (await import("./src/cli/show_config.ts")).showConfig(args, commandContext);
    case "generate":
      return (await import("./src/cli/generate.ts")).generate(args, commandContext);
    case "schema":
      writeStdout((await import("./src/config/json_schema.ts")).configurationSchemaText());
      return 0;
    case "completion":
      writeStdout((await import("./src/cli/completion.ts")).completionScript(args.shell));
      return 0;
    case "positions":
      return await (await import("./src/cli/positions.ts")).showPositions(args, commandContext);
    case "positions forget":
      return await (await import("./src/cli/forget_sink.ts")).forgetSink(args, commandContext);
    case "audit":
      return await (await import("./src/cli/audit.ts")).audit(args, commandContext);
    case "dlq ls":
      return await (await import("./src/cli/dlq_show.ts")).listLetters(args, commandContext);
    case "dlq show":
      return await (await import("./src/cli/dlq_show.ts")).showLetter(args, commandContext);
    case "dlq replay":
      return await (await import("./src/cli/dlq_replay.ts")).replayLetters(args, commandContext);
    case "buffer ls":
      return await (await import("./src/cli/buffer_ls.ts")).listBuffers(args, commandContext);
    case "buffer verify":
      return await (await import("./src/cli/buffer_verify.ts")).verifyBuffers(args, commandContext);
    case "buffer export":
      return await (await import("./src/cli/buffer_export.ts")).exportBuffer(args, commandContext);
    case "buffer repair":
      return await (await import("./src/cli/buffer_repair.ts")).repairJournal(args, commandContext);
    case "buffer repair --sink":
      return await (await import("./src/cli/disk_buffer_repair.ts")).repairDiskBuffer(args, commandContext);
    case "run":
      return await (await import("./src/cli/run.ts")).run(args, context);
    case "exec":
      return await (await import("./src/cli/exec.ts")).exec(args, context);
  }
}

// Put in by scripts/build --test, and "" in every other build: there the block, and what it alone uses, is left out.
if (process.env.SHIPPER_TEST_BUILD) {
  armCrashPoints(process.env);
  armTestKnobs(process.env);
}

let exitCode = await main(process.argv.slice(2));
const failure = stdoutFailure();
if (failure !== null) {
  const hint = "look at where it goes, and at the free space there";
  writeStderr(
    `error[output-unwritable]: Cannot write to standard output (${failure}): what was printed is not whole\n = hint: ${hint}\n`,
  );
  exitCode ||= EXIT_OUTPUT;
}
await stderr.flush(STDERR_FLUSH_MAX_MS);
process.exit(exitCode);
