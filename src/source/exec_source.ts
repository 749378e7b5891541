import type { StdinSourceConfig } from "../config/config.ts";
import type { Outlet } from "../event/chunk.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import type { ByteInput } from "./byte_input.ts";
import { ByteIntake, openInput } from "./byte_intake.ts";
import type { Command } from "./command.ts";
import type { Source } from "./source.ts";
import { pipeStream } from "./stdin_source.ts";
import { Tee } from "./tee.ts";

/**
 * A pipe that is still open for so long after the command has ended, without anything that held the reading, is kept open by a process that
 * the command has left behind: all that the command itself wrote has been read by then.
 */
export const OPEN_PIPE_WAIT_MS = 2_000;

/** What a pipe can hold (Linux: 64 KiB, 1 MiB where a program asks for it): whatever held the reading, the command's own output is in front of it. */
const PIPE_BYTES_MAX = 1_048_576;

export interface ExecSourceOptions {
  /** The stdin source of the configuration, which the command's output takes the place of. */
  readonly config: StdinSourceConfig;
  readonly command: Command;
  /** Pass the output on to this process's stdout and stderr, too. */
  readonly tee: boolean;
  /** At least one. */
  readonly outlets: readonly Outlet[];
  readonly metrics: SourceMetrics;
  readonly log: Log;
  readonly pool: BufferPool;
  readonly hostname: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** At most this long is waited for pipes that stay open; half of the time for stopping is left for delivery. */
  readonly shutdownTimeoutMs: number;
  /** Called when the command has ended and all of its output was taken. */
  readonly onEnd: () => void;
}

/**
 * Starts a command and reads its stdout and stderr, two streams of one source, to their ends. `run` resolves when the command has ended and
 * the outlets have taken all that was read. It rejects with a `StartError` when the command cannot be started.
 *
 * Backpressure is the pipe's: while the outlets have no room, the command's writes block. An abort before the start starts nothing. An abort
 * while the command runs means that nothing can be delivered any more: its pipes are closed and it is asked to end (SIGTERM).
 */
export function createExecSource(options: ExecSourceOptions): Source {
  return new ExecSource(options);
}

class ExecSource implements Source {
  readonly name: string;
  readonly #options: ExecSourceOptions;

  constructor(options: ExecSourceOptions) {
    this.name = options.config.name;
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { command, log, onEnd } = this.#options;
    if (signal.aborted) return;
    const reading = new AbortController();
    const output = command.start();
    log.info(`Started the command "${command.words[0]}" with pid ${command.pid}`, { source: this.name });
    const stop = () => {
      reading.abort();
      if (!command.isRunning) return;
      log.error("Nothing can be delivered any more: the command's output is closed, and SIGTERM sent to it");
      command.signal("SIGTERM");
    };
    signal.addEventListener("abort", stop, { once: true });
    const tees = { stdout: new Tee("stdout", log), stderr: new Tee("stderr", log) };
    const readers = [
      this.#reader("stdout", output.stdout, tees.stdout, reading.signal),
      this.#reader("stderr", output.stderr, tees.stderr, reading.signal),
    ];
    const stopWatching = this.#watchPipes(readers, reading);
    try {
      await Promise.all(readers.map(({ done }) => done));
      // One that has closed its output may go on.
      await command.ended;
      onEnd();
    } finally {
      stopWatching();
      tees.stdout.close();
      tees.stderr.close();
      signal.removeEventListener("abort", stop);
    }
  }

  #reader(name: "stdout" | "stderr", input: ByteInput, tee: Tee, signal: AbortSignal): PipeReader {
    const { hostname, now, tee: isTeeWanted } = this.#options;
    const intake = new ByteIntake({
      ...this.#options,
      stream: pipeStream(this.name, hostname, now(), name),
      label: `the command's ${name}`,
      ...(isTeeWanted ? { tap: (bytes, stopped) => tee.write(bytes, stopped) } : {}),
    });
    // Where reading failed, the command must not wait for somebody who reads.
    const done = intake.run(() => openInput(input), signal).finally(() => input.end());
    return { name, intake, done };
  }

  /** Stops the reading of pipes that somebody else keeps open after the end of the command. Gives what ends the watching. */
  #watchPipes(readers: readonly PipeReader[], reading: AbortController): () => void {
    const { command, log, shutdownTimeoutMs } = this.#options;
    const waitMs = Math.min(OPEN_PIPE_WAIT_MS, shutdownTimeoutMs / 2);
    const endBytes = new Map<PipeReader, number>();
    let timer: ReturnType<typeof setInterval> | null = null;
    const look = () => {
      const open = readers.filter(({ intake }) => intake.isReading);
      // What the command wrote may still be in a pipe that was not read meanwhile.
      const unsure = open.filter((each) =>
        each.intake.takeWasHeld() && each.intake.readBytes - endBytes.get(each)! < PIPE_BYTES_MAX
      );
      if (open.length === 0 || unsure.length > 0) return;
      log.warn(
        `The command has ended, and a process that it left behind keeps its ${
          open.map(({ name }) => name).join(" and ")
        } open: what that one writes is not read any more`,
        { source: this.name, hint: "let the command wait for the processes that it starts" },
      );
      reading.abort();
    };
    let isOver = false;
    void command.ended.then(() => {
      if (isOver) return;
      for (const each of readers) {
        each.intake.takeWasHeld();
        endBytes.set(each, each.intake.readBytes);
      }
      timer = setInterval(look, waitMs);
    });
    return () => {
      isOver = true;
      if (timer !== null) clearInterval(timer);
    };
  }
}

interface PipeReader {
  readonly name: "stdout" | "stderr";
  readonly intake: ByteIntake;
  /** Settles when everything that was read was taken. */
  readonly done: Promise<void>;
}
