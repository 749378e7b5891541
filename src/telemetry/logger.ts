import type { Log, LogFields } from "./log.ts";
import { formatJson, formatPretty, type LogEntry, type LogLevel } from "./log_format.ts";
import { REPEAT_WINDOW_MS, RepeatLimiter } from "./repeat_limiter.ts";

export interface LoggerOptions {
  /** Messages below it are not written. */
  readonly level: LogLevel;
  readonly format: "pretty" | "json";
  /** Gets whole lines. Must not throw and must not block; `StderrWriter` is made for it. */
  readonly write: (text: string) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Only for "pretty". */
  readonly color?: boolean;
  /** Lines that `write` could not get rid of since it was last asked; they are announced with the next message. */
  readonly takeLostLines?: () => number;
}

/** A Log with what its owner needs. */
export interface Logger extends Log {
  /** The same log, with these fields added to every message. */
  child(fields: LogFields): Logger;
  /** From now on; for all logs that have this one's origin. */
  setStyle(style: Pick<LoggerOptions, "level" | "format">): void;
  /** Writes what was held back because it was repeated, and leaves no timer. To be called before the process ends. */
  close(): void;
}

const LEVELS: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/**
 * Writes log lines. The same message (numbers aside) more than five times in ten seconds is held back and summed up at the end of that
 * time: `Message (repeated 115 more times in 10 s)`; while it goes on, once in ten seconds. Debug messages are all written: who asks for them wants to see each one.
 *
 * Own code and not pino: pino adds 4 ms to a start that is 5 ms without it, 6 MB of memory, 65 KB and 30 modules to the binary (measured,
 * compiled with bytecode), brings neither this limit nor a pretty format that works without a worker thread, and its destination gives up
 * or blocks where ours drops and counts. For the same reason nothing here touches `process.stderr`: its first use costs 8 ms.
 */
export function createLogger(options: LoggerOptions): Logger {
  return new LineLogger(new LogCore(options), {});
}

class LogCore {
  readonly #options: LoggerOptions;
  readonly #limiter = new RepeatLimiter<LogEntry>();
  #style: Pick<LoggerOptions, "level" | "format">;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(options: LoggerOptions) {
    this.#options = options;
    this.#style = options;
  }

  setStyle(style: Pick<LoggerOptions, "level" | "format">): void {
    this.#style = style;
  }

  log(level: LogLevel, message: string, fields: LogFields): void {
    if (LEVELS[level] < LEVELS[this.#style.level]) return;
    const timeMs = this.#options.now();
    const entry: LogEntry = { timeMs, level, message, fields };
    if (level !== "debug") {
      this.#sumUp(timeMs);
      if (!this.#limiter.admit(level + message, entry, timeMs)) {
        this.#armTimer();
        return;
      }
    }
    this.#announceLost(timeMs);
    this.#write(entry);
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#sumUp(Infinity);
    this.#announceLost(this.#options.now());
  }

  /** Without it, the end of a flood would be reported only with the next message, whenever that comes. */
  #armTimer(): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#sumUp(this.#options.now());
      if (this.#limiter.hasHeldBack) this.#armTimer();
    }, REPEAT_WINDOW_MS);
    this.#timer.unref();
  }

  #sumUp(nowMs: number): void {
    for (const { last, heldBackCount } of this.#limiter.takeEnded(nowMs)) {
      const seconds = REPEAT_WINDOW_MS / 1_000;
      const timeMs = this.#options.now();
      if (last === null) {
        const message =
          `${heldBackCount} other messages in ${seconds} s were left out: there were too many different ones`;
        this.#write({ timeMs, level: "warn", message, fields: {} });
      } else {
        const times = heldBackCount === 1 ? "time" : "times";
        const message = `${last.message} (repeated ${heldBackCount} more ${times} in ${seconds} s)`;
        this.#write({ ...last, timeMs, message });
      }
    }
  }

  #announceLost(timeMs: number): void {
    const count = this.#options.takeLostLines?.() ?? 0;
    if (count === 0) return;
    const message = `${count} log lines were left out: standard error did not take them`;
    this.#write({ timeMs, level: "warn", message, fields: {} });
  }

  #write(entry: LogEntry): void {
    const { write, color } = this.#options;
    write(this.#style.format === "json" ? formatJson(entry) : formatPretty(entry, color === true));
  }
}

class LineLogger implements Logger {
  readonly #core: LogCore;
  readonly #fields: LogFields;

  constructor(core: LogCore, fields: LogFields) {
    this.#core = core;
    this.#fields = fields;
  }

  debug(message: string, fields?: LogFields): void {
    this.#core.log("debug", message, this.#with(fields));
  }

  info(message: string, fields?: LogFields): void {
    this.#core.log("info", message, this.#with(fields));
  }

  warn(message: string, fields?: LogFields): void {
    this.#core.log("warn", message, this.#with(fields));
  }

  error(message: string, fields?: LogFields): void {
    this.#core.log("error", message, this.#with(fields));
  }

  child(fields: LogFields): Logger {
    return new LineLogger(this.#core, this.#with(fields));
  }

  setStyle(style: Pick<LoggerOptions, "level" | "format">): void {
    this.#core.setStyle(style);
  }

  close(): void {
    this.#core.close();
  }

  #with(fields: LogFields | undefined): LogFields {
    return fields === undefined ? this.#fields : { ...this.#fields, ...fields };
  }
}
