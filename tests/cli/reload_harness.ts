import { expect } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { FakeProcess } from "./fake_process.ts";

/** What is logged when a reload has come to a result. */
export const ANSWERS = /Took the changed configuration over|Cannot take the changed|nothing has changed/g;

/** What a test adds to the configuration, by where it goes. */
export interface ConfigText {
  readonly top?: string;
  readonly source?: string;
  readonly sink?: string;
  readonly more?: string;
}

/** A shipper with one file source and one Kafka sink, whose configuration changes while it runs. */
export class ReloadBench implements AsyncDisposable {
  readonly dir: TempDir;
  readonly kafka: FakeKafka;
  readonly host = new FakeProcess();
  #lineCount = 0;

  private constructor(dir: TempDir, kafka: FakeKafka) {
    this.dir = dir;
    this.kafka = kafka;
  }

  static async start(): Promise<ReloadBench> {
    return new ReloadBench(tempDir("reload"), await FakeKafka.start(1, { logs: 1, more: 1 }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kafka[Symbol.asyncDispose]();
    this.dir.remove();
  }

  configPath(): string {
    return this.dir.file("config.toml");
  }

  /** Writes the configuration, and gives its path. */
  write({ top = "", source = "", sink = "", more = "" }: ConfigText = {}): string {
    writeFileSync(
      this.configPath(),
      `${top.includes("data_dir") ? "" : `data_dir = ${JSON.stringify(this.dir.file("data"))}`}
log.format = "json"
${top}
[sources.app]
type = "file"
include = [${JSON.stringify(this.dir.file("*.log"))}]
glob_minimum_cooldown_ms = 20
${source}
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(this.kafka.bootstrapServers)}
topic = "logs"
retry.interval_ms = 5
retry.max_interval_ms = 20
batch.timeout_ms = 1
${sink}
${more}
`,
    );
    return this.configPath();
  }

  /** Writes lines, and waits until they are in Kafka. */
  async ship(count: number): Promise<void> {
    const before = this.kafka.values().length;
    for (let i = 0; i < count; i++) appendFileSync(this.dir.file("app.log"), `line ${this.#lineCount++}\n`);
    await until(() => this.kafka.values().length === before + count, `${count} more lines are there`);
  }

  /** Asks for the configuration to be read again; gives what was logged about it. */
  async reload(): Promise<string> {
    const at = this.host.stderr.length;
    this.host.hangUp("reload");
    await until(
      () => this.host.stderr.slice(at).match(ANSWERS) !== null,
      "the reload has come to a result",
    );
    return this.host.stderr.slice(at);
  }

  /** Starts shipper, has `work` done, and stops it; gives the exit code. */
  async during(text: ConfigText, work: () => Promise<void>): Promise<number> {
    const promise = this.host.run(this.write(text));
    await until(() => this.host.stderr.includes("Started"), "it has started");
    await work();
    this.host.signal("SIGTERM");
    const code = await promise;
    expect(this.host.stderr).not.toContain("does not add up");
    return code;
  }

  /** Asks its API, where it listens now. */
  async get(path: string): Promise<{ status: number; text: string }> {
    const [, address] = [...this.host.stderr.matchAll(/Listening on ([^\s"]+)/g)].at(-1)!;
    const response = await fetch(`http://${address}${path}`);
    return { status: response.status, text: await response.text() };
  }
}
