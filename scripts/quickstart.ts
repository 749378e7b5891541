// scripts/quickstart: from nothing to records in a real Kafka, read back by Kafka's own consumer.
import { type ChildProcess, spawn } from "node:child_process";
import { createReadStream, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Cluster, startCluster } from "./lib/kafka_cluster.ts";
import { ensureKafka, javaArguments, type KafkaFiles } from "./lib/kafka_files.ts";
import { projectDir } from "./lib/project.ts";
import { runCommand } from "./lib/run_command.ts";
import { sampleLog } from "./lib/sample_log.ts";
import { Steps } from "./lib/steps.ts";

const SAMPLE_LINES = 100_000;
const TOPIC = "quickstart";
const PARTITIONS = 3;
const SHOWN_RECORDS = 3;
const SHOWN_CHARS = 160;
/** The consumer has read everything when nothing more came for so long. */
const CONSUMER_IDLE_MS = 3_000;

const steps = new Steps();
const workDir = mkdtempSync(join(tmpdir(), "shipper-quickstart-"));
let cluster: Cluster | null = null;
/** What runs now beside Kafka, to be ended when this is interrupted. */
let child: ChildProcess | null = null;

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  process.on(signal, () => void cleanUp().finally(() => process.exit(code)));
}
try {
  process.exitCode = await quickstart(process.argv[2] ?? null);
} catch (error) {
  console.error(`\nError: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  await cleanUp();
}

async function quickstart(file: string | null): Promise<number> {
  await steps.run(
    "Building dist/shipper",
    () => runCommand(process.execPath, [join(projectDir, "scripts", "build.ts")]),
  );
  const kafka = await steps.run("Getting Apache Kafka", () => ensureKafka(), (files) => files.version);
  cluster = await steps.run("Starting Kafka", () => startCluster(), (started) => `at ${started.bootstrap}`);
  const { bootstrap } = cluster;
  await steps.run(
    `Creating the topic "${TOPIC}"`,
    () => createTopic(kafka, bootstrap),
    () => `${PARTITIONS} partitions`,
  );

  const source = file === null ? writeSample() : linkTo(file);
  const lineCount = await countLines(source);
  const configPath = join(workDir, "shipper.toml");
  writeFileSync(configPath, config(source, bootstrap));
  console.error(
    `Shipping ${lineCount} lines of ${file ?? "a sample log"}: dist/shipper --config shipper.toml --once`,
  );
  const shipSeconds = await ship(configPath);

  const { count, first } = await steps.run(
    "Reading the topic with Kafka's console consumer",
    () => consume(kafka, bootstrap),
    (read) => `${read.count} records`,
  );
  console.log(`\nThe first records in "${TOPIC}":`);
  for (const record of first) {
    console.log(`  ${record.length > SHOWN_CHARS ? record.slice(0, SHOWN_CHARS) + "..." : record}`);
  }
  if (count !== lineCount) {
    console.error(`\nError: ${lineCount} lines were shipped and ${count} records read back`);
    return 1;
  }
  console.log(
    `\n${count} lines shipped in ${
      shipSeconds.toFixed(1)
    } s (start-up included), ${count} records read back. None is missing.`,
  );
  console.log(nextSteps());
  return 0;
}

function writeSample(): string {
  const path = join(workDir, "access.log");
  writeFileSync(path, sampleLog(SAMPLE_LINES, Date.UTC(2025, 0, 1)));
  return path;
}

/** A name that is no glob, whatever the file is called. */
function linkTo(file: string): string {
  const path = join(workDir, "input.log");
  symlinkSync(file, path);
  return path;
}

/** Lines as shipper counts them: a last one without newline is one too. */
async function countLines(path: string): Promise<number> {
  let count = 0;
  let last = 10;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) count++;
    last = chunk[chunk.length - 1]!;
  }
  return last === 10 ? count : count + 1;
}

function config(source: string, bootstrap: string): string {
  return `data_dir = ${JSON.stringify(join(workDir, "data"))}

[sources.log]
type = "file"
include = [${JSON.stringify(source)}]

[sinks.kafka]
type = "kafka"
inputs = ["log"]
bootstrap_servers = "${bootstrap}"
topic = "${TOPIC}"
compression = "zstd"
`;
}

/** Runs shipper with its log and progress on this terminal. Returns seconds; rejects when it fails. */
function ship(configPath: string): Promise<number> {
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    const args = ["--config", configPath, "--once", "--require-healthy"];
    const child = spawn(join(projectDir, "dist", "shipper"), args, {
      stdio: ["ignore", "inherit", "inherit"],
    });
    child.on("error", (error) => reject(new Error(`Cannot start dist/shipper: ${error.message}`)));
    child.on("close", (code, signal) => {
      if (code === 0) resolve((performance.now() - startMs) / 1000);
      else reject(new Error(`dist/shipper ended with ${code ?? signal}: its log is above`));
    });
  });
}

async function createTopic(kafka: KafkaFiles, bootstrap: string): Promise<void> {
  await runCommand("java", [
    ...javaArguments(kafka, "tool", workDir),
    "org.apache.kafka.tools.TopicCommand",
    "--bootstrap-server",
    bootstrap,
    "--create",
    "--topic",
    TOPIC,
    "--partitions",
    String(PARTITIONS),
  ]);
}

/** Reads the whole topic. Counts by newline: no line holds one. */
function consume(kafka: KafkaFiles, bootstrap: string): Promise<{ count: number; first: string[] }> {
  return new Promise((resolve, reject) => {
    const consumer = child = spawn("java", [
      ...javaArguments(kafka, "tool", workDir),
      "org.apache.kafka.tools.consumer.ConsoleConsumer",
      "--bootstrap-server",
      bootstrap,
      "--topic",
      TOPIC,
      "--from-beginning",
      "--timeout-ms",
      String(CONSUMER_IDLE_MS),
    ], { stdio: ["ignore", "pipe", "pipe"] });
    let count = 0;
    let head = Buffer.alloc(0);
    let stderr = "";
    consumer.stdout.on("data", (chunk: Buffer) => {
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) count++;
      if (head.length < 65_536) head = Buffer.concat([head, chunk]);
    });
    consumer.stderr.setEncoding("utf8").on("data", (text: string) => stderr = (stderr + text).slice(-4_000));
    consumer.on(
      "error",
      (error) => reject(new Error(`Cannot start Kafka's console consumer: ${error.message}`)),
    );
    consumer.on("close", (code) => {
      if (!stderr.includes("Processed a total of")) {
        return reject(new Error(`Kafka's console consumer ended with ${code}: ${stderr}`));
      }
      resolve({ count, first: head.toString("utf8").split("\n").slice(0, Math.min(SHOWN_RECORDS, count)) });
    });
  });
}

function nextSteps(): string {
  return `
To ship your own files to your own Kafka, save this as shipper.toml and run "dist/shipper --config shipper.toml":

  [sources.app]
  type = "file"
  include = ["/var/log/app/*.log"]

  [sinks.events]
  type = "kafka"
  inputs = ["app"]
  bootstrap_servers = "kafka1.example.com:9092,kafka2.example.com:9092"
  topic = "logs"

"dist/shipper validate --config shipper.toml" checks it; config.example.toml has more, TLS and logins too.`;
}

async function cleanUp(): Promise<void> {
  child?.kill("SIGKILL");
  await cluster?.stop();
  cluster = null;
  rmSync(workDir, { recursive: true, force: true });
}
