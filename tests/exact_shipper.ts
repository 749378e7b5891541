import { cpSync, writeFileSync } from "node:fs";
import { BufferPool } from "../src/event/pooled_buffer.ts";
import { loadConfigFiles } from "../src/cli/load_config_files.ts";
import type { Journal } from "../src/journal/journal.ts";
import { readJournal } from "../src/journal/journal_reader.ts";
import { Pipeline } from "../src/pipeline.ts";
import { type StorageOps, systemOps } from "../src/storage/storage_ops.ts";
import { auditRun } from "../src/telemetry/audit.ts";
import { Metrics } from "../src/telemetry/metrics.ts";
import { openJournal } from "./checkpoint/journaled_positions.ts";
import { KeptLog } from "./kafka/producer_harness.ts";
import type { FakeKafka } from "./support/fake_kafka.ts";
import type { TempDir } from "./support/temp_dir.ts";

/** A configuration of the source "app", one file, and the sink "events", which tries again at once. Both take more lines. */
export function fileToLogs(
  file: string,
  kafka: FakeKafka,
  more: { readonly source?: string; readonly sink?: string; readonly topic?: string } = {},
): string {
  return `[sources.app]
type = "file"
include = [${JSON.stringify(file)}]
glob_minimum_cooldown_ms = 20
${more.source ?? ""}
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(kafka.bootstrapServers)}
topic = "${more.topic ?? "logs"}"
retry.interval_ms = 1
retry.max_interval_ms = 5
${more.sink ?? ""}
`;
}

interface JournalSizes {
  readonly segmentBytes?: number;
  readonly liveBytesMax?: number;
}

const FULL = Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" });

/** A shipper inside the test's own process, with a real journal: it can be killed, stopped, and started again with another configuration. */
export class ExactShipper implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #journalOptions: JournalSizes;
  #runCount = 0;
  /** The journal cannot be written. */
  isDiskFull = false;
  #journal: Journal | null = null;
  #pipeline: Pipeline | null = null;
  #running: Promise<void> | null = null;
  metrics = new Metrics(0);
  log = new KeptLog();
  /** Why the last run ended by itself, null when it did not. */
  failure: string | null = null;

  constructor(
    dir: TempDir,
    journal: JournalSizes = {},
  ) {
    this.#dir = dir;
    this.#journalOptions = journal;
  }

  /** `toml`: everything but data_dir. */
  async start(toml: string, options: { readonly once?: boolean } = {}): Promise<void> {
    const path = this.#dir.file("config.toml");
    writeFileSync(path, `data_dir = ${JSON.stringify(this.dataDir)}\n${toml}`);
    const context = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined, env: {} };
    const { config, diagnostics } = await loadConfigFiles([path], {
      ...context,
      stdin: async function* () {},
    });
    if (config === null) throw new Error(diagnostics.map((each) => each.message).join("\n"));
    this.isDiskFull = false;
    this.#journal = await openJournal(this.dataDir, { ...this.#journalOptions, ops: this.#ops() });
    this.metrics = new Metrics(0);
    this.log = new KeptLog();
    this.failure = null;
    this.#pipeline = new Pipeline({
      config,
      diskBuffers: new Map(),
      pool: new BufferPool(),
      positions: this.#journal.positions,
      journal: this.#journal,
      hostname: "h",
      metrics: this.metrics,
      log: this.log,
      once: options.once ?? false,
      dryRun: false,
      now: Date.now,
      random: Math.random,
    });
    const { positions } = this.#journal;
    this.metrics.accounts = () => positions.accounts();
    this.#running = this.#pipeline.run().catch((error: unknown) => {
      this.failure = (error as Error).message;
    });
  }

  #ops(): StorageOps {
    const write: StorageOps["write"] = (...where) => {
      if (this.isDiskFull) throw FULL;
      return systemOps.write(...where);
    };
    return { ...systemOps, write };
  }

  get dataDir(): string {
    return this.#dir.file(`data-${this.#runCount}`);
  }

  /** As kill -9 does: what is on disk at this moment is what the next run finds. */
  async kill(): Promise<void> {
    this.#pipeline!.kill();
    const before = this.dataDir;
    this.#runCount++;
    cpSync(before, this.dataDir, { recursive: true });
    await this.#end();
  }

  async stop(graceMs = 300): Promise<void> {
    this.#pipeline!.stopReading();
    const timer = setTimeout(() => this.#pipeline!.kill(), graceMs);
    await this.#running;
    clearTimeout(timer);
    await this.#end();
  }

  /** Resolves when the run has ended by itself. */
  async ended(): Promise<void> {
    await this.#running;
    await this.#end();
  }

  liveCount(): number {
    return readJournal(this.dataDir).live.size;
  }

  knowsFiles(source: string): number {
    return readJournal(this.dataDir).positions.records(source).length;
  }

  /** Every event of this run is somewhere; what does not add up. */
  differences(): string[] {
    const { addsUp, streams, sinks } = auditRun(this.metrics);
    return addsUp ? [] : [JSON.stringify({ sinks, streams })];
  }

  async #end(): Promise<void> {
    await this.#running;
    this.#running = null;
    await this.#journal!.close(1_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running !== null) await this.kill();
  }
}
