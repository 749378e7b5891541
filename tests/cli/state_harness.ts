import { writeFileSync } from "node:fs";
import type { CommandContext } from "../../src/cli/command_context.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

/** What a command printed, and its exit code. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder with logs and a data_dir, and a broker on loopback, for commands that look at what a run has stored. */
export class StateHarness implements AsyncDisposable {
  readonly dir: TempDir;
  readonly kafka: FakeKafka;
  /** The wall clock of commands. */
  now: () => number = Date.now;

  private constructor(dir: TempDir, kafka: FakeKafka) {
    this.dir = dir;
    this.kafka = kafka;
  }

  static async start(partitions = 1): Promise<StateHarness> {
    return new StateHarness(tempDir("state"), await FakeKafka.start(1, { logs: partitions }));
  }

  get dataDir(): string {
    return this.dir.file("data");
  }

  /** Writes a configuration of one file source and a Kafka sink for each name; gives its path. */
  config(
    sinks: readonly string[] = ["events"],
    more: { top?: string; source?: string; sink?: string; isBrokerAway?: boolean } = {},
  ): string {
    const { isBrokerAway = false } = more;
    const path = this.dir.file(`${sinks.join("-")}${isBrokerAway ? "-away" : ""}.toml`);
    const tables = sinks.map((name) =>
      `[sinks.${name}]\ntype = "kafka"\ninputs = ["app"]\nbootstrap_servers = ${
        // Nobody listens at port 1.
        JSON.stringify(
          isBrokerAway ? "127.0.0.1:1" : this.kafka.bootstrapServers,
        )}\ntopic = "logs"\nretry.interval_ms = 5\nretry.max_interval_ms = 20\n${more.sink ?? ""}\n`
    );
    writeFileSync(
      path,
      `data_dir = ${JSON.stringify(this.dataDir)}\nlog.format = "json"\n${
        more.top ?? ""
      }\n[sources.app]\ntype = "file"\n` +
        `include = [${JSON.stringify(this.dir.file("*.log"))}]\n${more.source ?? ""}\n${tables.join("")}`,
    );
    return path;
  }

  /** Runs a command of the command line in this process. */
  async call<A>(
    command: (args: A, context: CommandContext) => Promise<number>,
    args: A,
  ): Promise<CommandResult> {
    const printed = { stdout: "", stderr: "" };
    const code = await command(args, {
      env: {},
      hostname: "h",
      isRoot: true,
      home: "/root",
      xdgStateHome: undefined,
      stdin: async function* () {},
      stdout: (text) => void (printed.stdout += text),
      stderr: (text) => void (printed.stderr += text),
      color: false,
      now: this.now,
    });
    return { code, ...printed };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kafka[Symbol.asyncDispose]();
    this.dir.remove();
  }
}
