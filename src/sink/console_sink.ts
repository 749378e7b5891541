import { write, writeSync } from "node:fs";
import type { EventBuffer } from "../buffer/event_buffer.ts";
import type { ConsoleSinkConfig } from "../config/config.ts";
import { errnoName, StartError } from "../errors.ts";
import type { Delivery } from "../event/delivery.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import { openOutput, type OutputFd } from "../telemetry/output_fd.ts";
import { LineArena } from "./line_arena.ts";
import type { HealthFailure, Sink } from "./sink.ts";

/** Wait before a full pipe is tried again; doubles up to the second while nothing goes through. */
const RETRY_MIN_MS = 1;
const RETRY_MAX_MS = 20;
/** Wait after a full disk. */
const DISK_RETRY_MS = 1_000;
/** Bytes after which other work gets a turn, although the reader takes everything at once. */
const TURN_BYTES = 1_048_576;

/** Errors after which a later write can succeed: the disk behind a redirected output is full. */
const PASSING_ERRORS = new Set(["ENOSPC", "EDQUOT"]);

export interface ConsoleSinkOptions {
  readonly config: ConsoleSinkConfig;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  readonly clock?: { readonly now: () => number };
  /** Written to instead of descriptor 1 or 2. */
  readonly fd?: number;
}

/**
 * Writes values and newlines to standard output or standard error, in large writes. Events are acknowledged when the write of their last
 * byte has returned. A reader that does not read holds the sink (and through the buffer its sources), never the process.
 *
 * When the other end is gone nothing can be delivered any more: what was not written is settled as "errored", so that its position stays,
 * and `run` rejects with a StartError (exit code 1).
 */
export function createConsoleSink(options: ConsoleSinkOptions): Sink {
  return new ConsoleSink(options);
}

class ConsoleSink implements Sink {
  readonly name: string;
  readonly #config: ConsoleSinkConfig;
  readonly #metrics: SinkMetrics;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #fd: number;
  readonly #arena = new LineArena();
  /** Ends our turn at the descriptor; null while it is not our turn. */
  #endTurn: (() => void) | null = null;
  #turnBytes = 0;

  constructor(options: ConsoleSinkOptions) {
    this.name = options.config.name;
    this.#config = options.config;
    this.#metrics = options.metrics;
    this.#log = options.log;
    this.#now = options.clock?.now ?? Date.now;
    this.#fd = options.fd ?? (options.config.target === "stdout" ? 1 : 2);
  }

  checkHealth(): Promise<HealthFailure | null> {
    try {
      const output = openOutput(this.#fd);
      if (output.isNull) {
        this.#log.warn(
          `The ${this.#streamName()} is closed or /dev/null: what sink "${this.name}" writes is gone`,
        );
      }
      // Writing nothing fails too when the descriptor is not open for writing.
      if (output.kind === "file") writeSync(output.fd, "");
      output.close();
      return Promise.resolve(null);
    } catch (error) {
      return Promise.resolve(this.#failure(error));
    }
  }

  async run(buffer: EventBuffer, kill: AbortSignal): Promise<void> {
    const onKill = () => buffer.abandon();
    kill.addEventListener("abort", onKill, { once: true });
    if (kill.aborted) onKill();
    try {
      const output = openOutput(this.#fd);
      try {
        await this.#pump(output, buffer, kill);
      } finally {
        output.close();
      }
    } catch (error) {
      const { code, message, hint } = this.#failure(error);
      this.#metrics.lastError = message;
      throw new StartError(code, `${message}; the positions of what was not written stay`, hint, 1);
    } finally {
      this.#endTurn?.();
      kill.removeEventListener("abort", onKill);
      this.#metrics.inFlightEvents -= this.#arena.abandon();
      buffer.abandon();
    }
  }

  async #pump(output: OutputFd, buffer: EventBuffer, kill: AbortSignal): Promise<void> {
    while (!kill.aborted) {
      this.#fill(buffer);
      if (this.#arena.byteCount === 0) {
        if (!(await buffer.waitForData())) return;
        continue;
      }
      await this.#writeArena(output, kill);
    }
  }

  #fill(buffer: EventBuffer): void {
    while (this.#arena.wantsMore) {
      const delivery = buffer.read();
      if (delivery === null) return;
      this.#metrics.inFlightEvents += delivery.batch.count;
      this.#arena.add(delivery);
    }
  }

  /** Writes the arena and settles what got out, also when it fails in the middle. */
  async #writeArena(output: OutputFd, kill: AbortSignal): Promise<void> {
    const { data, byteCount, endsAtLine } = this.#arena;
    let written = 0;
    let eventCount = 0;
    this.#endTurn ??= await takeTurn(this.#fd);
    try {
      let retryMs = RETRY_MIN_MS;
      while (written < byteCount && !kill.aborted) {
        const count = await this.#writeSome(output, data, written, byteCount, kill);
        written += count;
        retryMs = count > 0 ? RETRY_MIN_MS : Math.min(retryMs * 2, RETRY_MAX_MS);
        if (count === 0) await sleep(retryMs, kill);
      }
    } finally {
      if (endsAtLine) {
        this.#endTurn();
        this.#endTurn = null;
      }
      const nowMs = this.#now();
      this.#arena.settleWritten(written, (delivery, count) => {
        eventCount += count;
        this.#count(delivery, count, nowMs);
      });
      this.#countWrite(eventCount, written, nowMs);
    }
    this.#turnBytes += written;
    if (this.#turnBytes < TURN_BYTES) return;
    this.#turnBytes = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Bytes that were taken; 0 when the reader has to read first, or the disk is full. */
  async #writeSome(
    output: OutputFd,
    data: Buffer,
    from: number,
    to: number,
    kill: AbortSignal,
  ): Promise<number> {
    try {
      if (output.kind === "file") return await writeAside(output.fd, data, from, to, kill);
      return writeSync(output.fd, data, from, to - from);
    } catch (error) {
      const code = errnoName(error);
      if (code === "EAGAIN") return 0;
      if (!PASSING_ERRORS.has(code)) throw error;
      const message = `Cannot write to the ${this.#streamName()}: ${code}; trying again every ${
        DISK_RETRY_MS / 1000
      } s`;
      this.#metrics.lastError = message;
      this.#metrics.retries.add(code);
      this.#log.warn(message, { sink: this.name });
      await sleep(DISK_RETRY_MS, kill);
      return 0;
    }
  }

  #count(delivery: Delivery, eventCount: number, nowMs: number): void {
    const metrics = this.#metrics;
    metrics.deliveredEventsCount += eventCount;
    metrics.inFlightEvents -= eventCount;
    metrics.latencySeconds.observe(Math.max(0, nowMs - delivery.batch.receivedMs) / 1000, eventCount);
  }

  #countWrite(eventCount: number, writtenBytes: number, nowMs: number): void {
    const metrics = this.#metrics;
    metrics.sentBytesCount += writtenBytes;
    if (eventCount === 0) return;
    metrics.deliveredBytesCount += writtenBytes - eventCount;
    metrics.sentBatchesCount++;
    metrics.batchEvents.observe(eventCount);
    metrics.batchBytes.observe(writtenBytes);
    metrics.lastError = null;
    metrics.lastAckMs = nowMs;
    metrics.waitingSinceMs = metrics.inFlightEvents + metrics.bufferedEvents > 0 ? nowMs : 0;
  }

  #streamName(): string {
    return this.#config.target === "stdout" ? "standard output" : "standard error";
  }

  /** What an error of the system means; anything else is a bug and is thrown again. */
  #failure(error: unknown): HealthFailure {
    const errno = errnoName(error);
    if (errno === "UNKNOWN") throw error;
    const stream = this.#streamName();
    const isClosed = errno === "EPIPE" || errno === "ENXIO" || errno === "ECONNRESET" || errno === "EIO";
    const found = isClosed
      ? "nobody reads it any more"
      : errno === "EBADF"
      ? "it is not open for writing"
      : "the system refused";
    return {
      code: `${this.#config.target}-closed`,
      message: `Cannot write to the ${stream} for sink "${this.name}": ${found} (${errno})`,
      hint: isClosed
        ? "keep the program that reads the pipe running, or redirect into a file"
        : `check where the ${stream} goes`,
    };
  }
}

/** A regular file can hold a write up for seconds while the disk is busy, so it waits on the thread pool and not on the main thread. */
function writeAside(fd: number, data: Buffer, from: number, to: number, kill: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    const onKill = () => resolve(0);
    kill.addEventListener("abort", onKill, { once: true });
    write(fd, data, from, to - from, null, (error, count) => {
      kill.removeEventListener("abort", onKill);
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

/** Ends early when `signal` aborts. */
function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    signal.addEventListener("abort", done, { once: true });
  });
}

/** For each descriptor, the end of the last write: sinks that share one must not tear each other's lines. */
const turns = new Map<number, Promise<void>>();

async function takeTurn(fd: number): Promise<() => void> {
  const before = turns.get(fd);
  const turn = Promise.withResolvers<void>();
  turns.set(fd, turn.promise);
  await before;
  return turn.resolve;
}
