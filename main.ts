import { homedir, hostname } from "node:os";
import { helpText, parseArgs, renderUsageError } from "./src/cli/args.ts";
import type { RunProcess } from "./src/cli/run.ts";
import { run } from "./src/cli/run.ts";
import { validate } from "./src/cli/validate.ts";
import { writeStderr, writeStdout } from "./src/cli/standard_output.ts";
import { version } from "./src/cli/version.ts";
import { StderrWriter } from "./src/telemetry/stderr_writer.ts";

const EXIT_USAGE = 2;

/** A reader of stderr that does not read is not waited for longer. */
const STDERR_FLUSH_MAX_MS = 500;

const stderr = new StderrWriter();

const context: RunProcess = {
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
  exit: (code) => process.exit(code),
};

/** Undefined for a user that has none: one that is not in /etc/passwd, with no HOME either, as in a container. */
function homeDir(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined; // the configuration has to name data_dir then, and says so
  }
}

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
      return await validate(args.configPaths, context, {
        stdout: writeStdout,
        stderr: writeStderr,
        color: stderr.isTerminal,
      });
    case "run":
      return await run(args, context);
  }
}

const exitCode = await main(process.argv.slice(2));
await stderr.flush(STDERR_FLUSH_MAX_MS);
process.exit(exitCode);
