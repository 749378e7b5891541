import { shipperBinary } from "../../tests/support/shipper.ts";
import type { CompressionCodec } from "../../src/config/config.ts";
import type { Bench, Input } from "./bench.ts";
import type { BenchKafka } from "./bench_kafka.ts";
import { type Guarantee, guaranteeLabel } from "./guarantee.ts";
import { cpuSecondsOf, measureProcess, type ProcessUsage } from "./measured_process.ts";
import { type ShipperSetup, writeShipperConfig } from "./shipper_config.ts";

export type Tool = "shipper" | "kcat";

/** A file that is to be in a topic as a whole. What has a default is for shipper alone; see `ShipperSetup`. */
export interface ShipJob extends
  Pick<
    ShipperSetup,
    "encoding" | "apiAddress" | "guarantee" | "keyField" | "dataDir" | "diskBufferBytes" | "sinkLines"
  > {
  /** Path of the shipper. Default: the one that is built here. */
  readonly binary?: string;
  /** What the run is called in the results. */
  readonly label?: string;
  readonly input: Input;
  /** shipper finds the input on its stdin. Default: it opens the file. */
  readonly isOnStdin?: boolean;
  readonly partitions: number;
  readonly codec: CompressionCodec;
}

/** What one run took and left. */
export interface ShipRun extends ProcessUsage {
  readonly tool: Tool;
  readonly lines: number;
  readonly partitions: number;
  readonly codec: CompressionCodec;
  readonly encoding: "text" | "json";
  /** Only where the program asked for one. */
  readonly guarantee?: Guarantee;
  readonly isKeyed?: boolean;
  readonly buffer?: "disk";
  readonly label?: string;
  readonly cpuSeconds: number;
  readonly linesPerSecond: number;
  readonly topicBytes: number;
  /** CPU of the broker meanwhile. */
  readonly brokerCpuSeconds: number;
}

const SLOWEST_LINES_PER_SECOND = 10_000;
const TIMEOUT_MIN_MS = 60_000;

/** Ships a file into a new topic, and checks that every line is there. The topic is deleted at once: later runs find the same disk. */
export async function ship(bench: Bench, tool: Tool, job: ShipJob): Promise<ShipRun> {
  const kafka = await bench.kafka();
  const topic = await kafka.createTopic(job.partitions);
  const dir = bench.runDir();
  try {
    const command = tool === "kcat"
      ? kcatCommand(kafka.bootstrap, topic, job)
      : shipperCommand(dir, kafka.bootstrap, topic, job);
    await warmPageCache(job.input);
    const brokerBefore = kafka.cpuSeconds();
    const timeoutMs = Math.max(TIMEOUT_MIN_MS, job.input.lines / SLOWEST_LINES_PER_SECOND * 1_000);
    const stdin = job.isOnStdin ? { stdinPath: job.input.path } : {};
    const usage = await measureProcess(command, { dir, timeoutMs, ...stdin });
    const brokerCpuSeconds = kafka.cpuSeconds() - brokerBefore;
    const topicBytes = await takeTopic(kafka, topic, tool, job.input.lines);
    return {
      tool,
      lines: job.input.lines,
      partitions: job.partitions,
      codec: job.codec,
      encoding: job.encoding ?? "text",
      ...(job.guarantee === undefined ? {} : { guarantee: job.guarantee }),
      ...(job.keyField === undefined ? {} : { isKeyed: true }),
      ...(job.diskBufferBytes === undefined ? {} : { buffer: "disk" }),
      ...(job.label === undefined ? {} : { label: job.label }),
      ...usage,
      cpuSeconds: cpuSecondsOf(usage),
      linesPerSecond: job.input.lines / usage.wallSeconds,
      topicBytes,
      brokerCpuSeconds,
    };
  } finally {
    bench.removeRunDir(dir);
  }
}

/** Checks and deletes a topic; returns its size. */
async function takeTopic(kafka: BenchKafka, topic: string, tool: Tool, lines: number): Promise<number> {
  const count = await kafka.countRecords(topic);
  if (count !== lines) throw new Error(`${tool} left ${count} records in the topic for ${lines} lines`);
  const topicBytes = kafka.topicBytes(topic);
  await kafka.deleteTopics([topic]);
  return topicBytes;
}

function kcatCommand(bootstrap: string, topic: string, job: ShipJob): string[] {
  const codec = job.codec === "none" ? [] : ["-z", job.codec];
  return ["kcat", "-P", "-b", bootstrap, "-t", topic, "-X", "acks=all", ...codec, "-l", job.input.path];
}

function shipperCommand(dir: string, bootstrap: string, topic: string, job: ShipJob): string[] {
  const { input, partitions: _, isOnStdin, binary = shipperBinary(), ...setup } = job;
  const source = isOnStdin ? {} : { include: [input.path] };
  const config = writeShipperConfig(dir, { ...setup, bootstrap, topic, ...source });
  return [binary, "--config", config, "--once"];
}

/** Reads the file once, so that no run waits for the disk. */
async function warmPageCache(input: Input): Promise<void> {
  for await (const _chunk of Bun.file(input.path).stream());
}

/** Ships by both tools in turn, `rounds` times after one round that does not count; who is first changes with every round. */
export async function shipPairs(
  bench: Bench,
  job: ShipJob,
  rounds: number,
): Promise<Record<Tool, ShipRun[]>> {
  const runs: Record<Tool, ShipRun[]> = { shipper: [], kcat: [] };
  for (let round = 0; round <= rounds; round++) {
    const tools: Tool[] = round % 2 === 0 ? ["kcat", "shipper"] : ["shipper", "kcat"];
    for (const tool of tools) {
      const run = await ship(bench, tool, job);
      const label = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
      bench.progress(`${label}: ${describeRun(run)}`);
      if (round > 0) runs[tool].push(run);
    }
  }
  return runs;
}

/** One line for people who wait. */
export function describeRun(run: ShipRun): string {
  const rate = `${(run.linesPerSecond / 1e6).toFixed(2)} M lines/s`;
  const how = [
    run.encoding,
    run.codec,
    ...(run.guarantee === undefined ? [] : [guaranteeLabel(run.guarantee)]),
    ...(run.isKeyed ? ["keyed"] : []),
    ...(run.buffer === undefined ? [] : ["disk buffer"]),
    ...(run.label === undefined ? [] : [run.label]),
  ].join(", ");
  return `${run.tool} ${how}, ${run.lines} lines: ${run.wallSeconds.toFixed(2)} s, ${rate}, CPU ${
    run.cpuSeconds.toFixed(2)
  } s, RSS ${(run.peakRssBytes / 1e6).toFixed(0)} MB`;
}
