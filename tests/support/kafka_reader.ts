import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ensureKafka, javaArguments, type KafkaFiles } from "../../scripts/lib/kafka_files.ts";
import { cacheDir } from "../../scripts/lib/project.ts";
import { runCommand } from "../../scripts/lib/run_command.ts";
import { tempDir } from "./temp_dir.ts";

const SOURCE_DIR = join(import.meta.dir, "reader");
const READER_HEAP_MB = 768;
const STDERR_TAIL_CHARS = 4_000;

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** A Java process that reads and changes clusters for the tests (reader/Reader.java). It ends with the process that started it. */
export class KafkaReader {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #stderrTail = "";

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => this.#take(JSON.parse(line) as Answer));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderrTail = (this.#stderrTail + text).slice(-STDERR_TAIL_CHARS);
    });
    child.stdin.on("error", () => {}); // "close" tells it better
    child.on("close", (code, signal) => {
      for (const waiting of this.#waiting.values()) {
        waiting.reject(new Error(`The Kafka reader ended with ${code ?? signal}: ${this.#stderrTail}`));
      }
      this.#waiting.clear();
    });
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Has one command done; they are done in order. Rejects with the Java client's error. */
  ask<T>(verb: string, bootstrap: string, fields: Readonly<Record<string, unknown>> = {}): Promise<T> {
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, {
        resolve: (result) => resolve(result as T),
        reject: (error) => reject(new Error(`Cannot ${verb} at ${bootstrap}: ${error.message}`)),
      });
      this.#child.stdin.write(JSON.stringify({ id, verb, bootstrap, ...fields }) + "\n");
    });
  }

  /** Ends the Java process. */
  close(): void {
    this.#child.stdin.end();
  }

  #take(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.error === undefined) waiting?.resolve(answer.result);
    else waiting?.reject(new Error(answer.error));
  }
}

const holder = globalThis as { shipperTestReader?: Promise<KafkaReader> };

/** The one reader of this process, started when first asked for. */
export async function kafkaReader(): Promise<KafkaReader> {
  const reader = holder.shipperTestReader === undefined ? null : await holder.shipperTestReader;
  if (reader === null || !reader.isRunning) holder.shipperTestReader = startReader();
  return holder.shipperTestReader!;
}

async function startReader(): Promise<KafkaReader> {
  const files = await ensureKafka();
  const classesDir = await compileReader(files);
  const scratch = tempDir("reader"); // the reader removes it at its end
  const args = javaArguments(files, "tool", scratch.path, READER_HEAP_MB);
  args[args.length - 1] = `${classesDir}:${files.classpath}`;
  const child = spawn("java", [...args, "Reader"], { stdio: ["pipe", "pipe", "pipe"] });
  child.unref();
  return new KafkaReader(child);
}

/** Compiles the reader once for each state of its source and of Kafka. Returns the folder of the classes. */
async function compileReader(files: KafkaFiles): Promise<string> {
  const sources = readdirSync(SOURCE_DIR).filter((name) => name.endsWith(".java")).sort().map((name) =>
    join(SOURCE_DIR, name)
  );
  const hash = createHash("sha256").update(files.version);
  for (const source of sources) hash.update(readFileSync(source));
  const dir = join(cacheDir, "reader", hash.digest("hex").slice(0, 16));
  if (existsSync(dir)) return dir;
  const partDir = `${dir}.part-${process.pid}`;
  mkdirSync(partDir, { recursive: true });
  try {
    await runCommand("javac", [
      "--release",
      "17",
      "-Xlint:all",
      "-d",
      partDir,
      "-cp",
      files.classpath,
      ...sources,
    ]);
    if (!existsSync(dir)) renameSync(partDir, dir);
  } finally {
    rmSync(partDir, { recursive: true, force: true });
  }
  return dir;
}
