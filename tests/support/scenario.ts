import { renameSync } from "node:fs";
import { type ReadOptions, type TestKafka } from "./kafka.ts";
import { OracleChecker, type OracleReport, OracleWriter } from "./oracle.ts";
import type { TopicRecord } from "./record_file.ts";
import { type TempDir } from "./temp_dir.ts";
import { waitUntil } from "./wait_until.ts";

/** What a test says of its configuration; everything else is left at its default. */
export interface PipelineText {
  readonly bootstrap: string;
  readonly topic: string;
  /** More lines of TOML, by where they go. */
  readonly top?: string;
  readonly source?: string;
  readonly sink?: string;
}

/** A configuration with one file source, which reads `include` (default: "*.log" of the folder), and one Kafka sink. */
export function filesToKafka(
  dir: TempDir,
  options: PipelineText & { readonly include?: readonly string[] },
): string {
  const include = options.include ?? [dir.file("*.log")];
  const source = `type = "file"\ninclude = ${JSON.stringify(include)}\n${options.source ?? ""}`;
  return pipeline(dir, options, source);
}

/** A configuration that ships stdin to Kafka. */
export function stdinToKafka(dir: TempDir, options: PipelineText): string {
  return pipeline(dir, options, `type = "stdin"\n${options.source ?? ""}`);
}

function pipeline(dir: TempDir, options: PipelineText, source: string): string {
  return `data_dir = ${JSON.stringify(dir.file("data"))}
${options.top ?? ""}
[sources.in]
${source}
[sinks.out]
type = "kafka"
inputs = ["in"]
bootstrap_servers = "${options.bootstrap}"
topic = "${options.topic}"
${options.sink ?? ""}
`;
}

/** Compares all that a topic holds with what the writers of a run wrote. */
export async function checkTopic(
  kafka: TestKafka,
  topic: string,
  writers: readonly OracleWriter[],
  isolation: NonNullable<ReadOptions["isolation"]> = "read_uncommitted",
): Promise<OracleChecker> {
  const checker = new OracleChecker(writers[0]!.run, writers);
  const take = (record: TopicRecord) => checker.take(record.partition, String(record.value));
  await kafka.scanTopic(topic, take, { isolation });
  return checker;
}

/** The same as `expectExactly`, for who reads with isolation.level=read_committed. */
export async function expectExactlyCommitted(
  kafka: TestKafka,
  topic: string,
  writers: readonly OracleWriter[],
): Promise<OracleReport> {
  // A commit is answered before its markers are in the partitions.
  const isReadable = async () => {
    const [all, committed] = [await kafka.offsets(topic), await kafka.offsets(topic, "read_committed")];
    return Object.entries(all.ends).every(([partition, end]) => committed.ends[partition] === end);
  };
  await waitUntil("no transaction is open", isReadable, { timeoutMs: 30_000 });
  return (await checkTopic(kafka, topic, writers, "read_committed")).assertComplete();
}

/** Everything arrived once, whole, and in order by file and partition. */
export async function expectExactly(
  kafka: TestKafka,
  topic: string,
  writers: readonly OracleWriter[],
): Promise<OracleReport> {
  return (await checkTopic(kafka, topic, writers)).assertComplete();
}

/** Everything arrived, in order; repeats are allowed. */
export async function expectAtLeastOnce(
  kafka: TestKafka,
  topic: string,
  writers: readonly OracleWriter[],
): Promise<OracleReport> {
  return (await checkTopic(kafka, topic, writers)).assertComplete({ duplicatesAllowed: true });
}

/**
 * Everything arrived, whole; repeats are allowed, and a line may come behind later ones. After a crash that is so on a topic of several
 * partitions: what was in flight to one of them may be missing while later lines are in another, and is sent again wherever there is room.
 */
export async function expectNothingLost(
  kafka: TestKafka,
  topic: string,
  writers: readonly OracleWriter[],
): Promise<OracleReport> {
  const report = (await checkTopic(kafka, topic, writers)).report();
  if (report.lostCount + report.foreignCount + report.damagedCount > 0) {
    throw new Error(`Not all that was written: ${JSON.stringify(report, null, 2)}`);
  }
  return report;
}

const TICK_MS = 20;

/**
 * Applications that write their logs: a line now and then to each file, until `stop`. A writer is paced by the clock, so that one which was
 * held up catches up.
 */
export class SteadyLoad {
  readonly #dir: TempDir;
  readonly #writers: readonly OracleWriter[];
  readonly #linesPerSecond: number;
  readonly #startMs = performance.now();
  readonly #startCount: number;
  readonly #timer: ReturnType<typeof setInterval>;

  /** `linesPerSecond` is of all files together; each writer's file is one of the folder. */
  constructor(dir: TempDir, writers: readonly OracleWriter[], linesPerSecond: number) {
    this.#dir = dir;
    this.#writers = writers;
    this.#linesPerSecond = linesPerSecond;
    this.#startCount = this.count;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Lines that all of them have written. */
  get count(): number {
    return this.#writers.reduce((sum, writer) => sum + writer.count, 0);
  }

  /** Writes no more, and gives the number of lines. */
  stop(): number {
    clearInterval(this.#timer);
    return this.count;
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  #tick(): void {
    const due = this.#startCount + (performance.now() - this.#startMs) / 1_000 * this.#linesPerSecond;
    const share = Math.floor((due - this.count) / this.#writers.length);
    if (share <= 0) return;
    for (const writer of this.#writers) writer.append(this.#dir.file(writer.file), share);
  }
}

/** Rotates by renaming as logrotate does: name.2 becomes name.3, name.1 becomes name.2, name becomes name.1. */
export function rotate(path: string, rotatedCount: number): void {
  for (let number = rotatedCount; number >= 1; number--) {
    renameSync(`${path}.${number}`, `${path}.${number + 1}`);
  }
  renameSync(path, `${path}.1`);
}
