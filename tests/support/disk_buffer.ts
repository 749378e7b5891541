import { existsSync, readdirSync, statfsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BUFFER_FOLDER } from "../../src/buffer/buffer_frames.ts";
import { DAMAGED_FOLDER } from "../../src/storage/segment_files.ts";
import { parseExposition, valueOf } from "../telemetry/exposition_parser.ts";
import type { TestKafka } from "./kafka.ts";
import { OracleChecker, OracleWriter } from "./oracle.ts";
import { stdinToKafka } from "./scenario.ts";
import { runShipper, type Shipper, type ShipperExit } from "./shipper.ts";
import type { TempDir } from "./temp_dir.ts";
import { waitUntil } from "./wait_until.ts";

/** For `diskBuffer`: the smallest there is has segments of 128 KiB. */
export const SMALLEST_BUFFER = "1MiB";
/** To be put at the top of a configuration: `bufferedEvents` asks there. */
export const API = 'api.address = "127.0.0.1:0"';

/** Options of a sink with its buffer on disk. */
export function diskBuffer(maxSize = SMALLEST_BUFFER, whenFull = "block"): string {
  return `buffer.type = "disk"\nbuffer.max_size = "${maxSize}"\nbuffer.when_full = "${whenFull}"`;
}

/** The folder of a sink's disk buffer. */
export function bufferFolder(dataDir: string, sink = "out"): string {
  return join(dataDir, BUFFER_FOLDER, sink);
}

/** The segments of a sink's disk buffer, oldest first. */
export function bufferSegments(dataDir: string, sink = "out"): string[] {
  const dir = bufferFolder(dataDir, sink);
  if (!existsSync(dir)) return [];
  return readdirSync(dir).filter((name) => name.endsWith(".seg")).sort().map((name) => join(dir, name));
}

/** Names of the segments that were set aside. */
export function damagedSegments(dataDir: string, sink = "out"): string[] {
  const dir = join(bufferFolder(dataDir, sink), DAMAGED_FOLDER);
  return existsSync(dir) ? readdirSync(dir) : [];
}

/** Writes a file that leaves `leftBytes` of its disk free, or less while others write to it too. */
export function fillDisk(path: string, leftBytes = 0): void {
  const { bavail, bsize } = statfsSync(dirname(path));
  try {
    writeFileSync(path, Buffer.alloc(Math.max(0, bavail * bsize - leftBytes)));
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOSPC") throw error;
  }
}

/** Events that a run says were dropped or lost, and with which exit code it ended. */
export interface ToldLosses {
  readonly code: number | null;
  readonly droppedCount: number;
  readonly lostCount: number;
}

/** What the end of a log says. */
export function toldLosses({ code, stderr }: ShipperExit): ToldLosses {
  const count = (pattern: RegExp) => Number(pattern.exec(stderr)?.[1] ?? 0);
  return {
    code,
    droppedCount: count(/Dropped (\d+) events?: each was counted/),
    lostCount: count(/Lost (\d+) events? [^"]*: each case was logged/),
  };
}

/** A figure of a shipper with `API`, by sink. */
export async function figureOf(shipper: Shipper, name: string, sink = "out"): Promise<number> {
  const [, address] = await shipper.waitForLog(/Listening on (127\.0\.0\.1:\d+)/);
  const page = parseExposition(await (await fetch(`http://${address}/metrics`)).text());
  return valueOf(page, name, { sink });
}

/** Events of the source "in" that a shipper with `API` has dropped for a reason. */
export async function droppedBy(shipper: Shipper, reason: string, sink = "out"): Promise<number> {
  const [, address] = await shipper.waitForLog(/Listening on (127\.0\.0\.1:\d+)/);
  const page = parseExposition(await (await fetch(`http://${address}/metrics`)).text());
  return valueOf(page, "shipper_sink_dropped_events_total", { sink, source: "in", reason });
}

/** Waits until so many events are in the buffer, and on the disk. */
export async function waitForBuffered(shipper: Shipper, count: number, sink = "out"): Promise<void> {
  await waitUntil(
    `${count} events are in the buffer`,
    async () => {
      const waiting = await figureOf(shipper, "shipper_buffer_events", sink) +
        await figureOf(shipper, "shipper_sink_in_flight_events", sink);
      return waiting >= count;
    },
    { timeoutMs: 20_000, pollMs: 50 },
  );
  // They are counted when they are put in; the commit that follows takes milliseconds.
  await Bun.sleep(300);
}

/**
 * A pipe into one shipper after the other, each with lines of its own: what a process that was killed had not put into its buffer is gone with it.
 * That may be missing at the end of its lines only.
 */
export class StdinLives {
  readonly config: string;
  readonly #run: string;
  readonly #topic: string;
  readonly #writers: OracleWriter[] = [];

  constructor(dir: TempDir, run: string, options: Parameters<typeof stdinToKafka>[1]) {
    this.config = stdinToKafka(dir, options);
    this.#run = run;
    this.#topic = options.topic;
  }

  /** The lines of the next life. */
  next(): OracleWriter {
    const writer = new OracleWriter(this.#run, `stdin-${this.#writers.length}`);
    this.#writers.push(writer);
    return writer;
  }

  /**
   * Compares a topic with what was written: of each life all from its first line on, once, whole and in order. Those of the last `wholeCount` lives
   * to their end. Returns how many lines are missing at ends.
   */
  async check(kafka: TestKafka, wholeCount = 1): Promise<number> {
    const ends = new Map<string, number>();
    const lines: [number, string][] = [];
    await kafka.scanTopic(this.#topic, ({ partition, value }) => {
      const line = String(value);
      const [, file, seq] = line.split(" ");
      ends.set(file!, Math.max(ends.get(file!) ?? 0, Number(seq) + 1));
      lines.push([partition, line]);
    });
    let missingCount = 0;
    const expected = this.#writers.map(({ file, count }, index) => {
      const isWhole = index >= this.#writers.length - wholeCount;
      const end = isWhole ? count : Math.min(count, ends.get(file) ?? 0);
      missingCount += count - end;
      return { file, count: end };
    });
    const checker = new OracleChecker(this.#run, expected);
    for (const [partition, line] of lines) checker.take(partition, line);
    checker.assertComplete();
    return missingCount;
  }
}

/** Writes lines to a shipper's stdin until it is told to stop or the shipper has ended. Waits where the pipe is full. */
export class StdinFeed {
  readonly #shipper: Shipper;
  readonly #writer: OracleWriter;
  readonly #writing: Promise<void>;
  #isOver = false;

  /** `nextCount` says how many lines come at once, every `pauseMs`. */
  constructor(shipper: Shipper, writer: OracleWriter, nextCount: () => number, pauseMs: number) {
    this.#shipper = shipper;
    this.#writer = writer;
    this.#writing = this.#write(nextCount, pauseMs);
  }

  /** Resolves when nothing is written any more. */
  stop(): Promise<void> {
    this.#isOver = true;
    return this.#writing;
  }

  async #write(nextCount: () => number, pauseMs: number): Promise<void> {
    while (!this.#isOver) {
      await this.#shipper.writeStdin(this.#writer.lines(nextCount())).catch(() => this.#isOver = true);
      await Bun.sleep(pauseMs);
    }
  }
}

/** Runs shipper until nothing is left to be done. */
export function finish(config: string, stdin?: string): Promise<ShipperExit> {
  return runShipper({
    config,
    args: ["--once"],
    testBuild: true,
    timeoutMs: 120_000,
    ...(stdin === undefined ? {} : { stdin }),
  });
}
