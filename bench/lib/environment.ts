import { cpus, totalmem } from "node:os";
import { kafkaVersion } from "../../scripts/lib/kafka_files.ts";
import { runCommand } from "../../scripts/lib/run_command.ts";
import { projectDir } from "../../scripts/lib/project.ts";
import { shipperBinary } from "../../tests/support/shipper.ts";

/** What a kept run says of where it was made: nothing that names the machine. */
export interface Environment {
  readonly date: string;
  readonly commit: string;
  readonly shipper: string;
  readonly bun: string;
  readonly kafka: string;
  readonly kcat: string;
  readonly librdkafka: string;
  readonly platform: string;
  readonly cores: number;
  readonly memoryGb: number;
}

export async function readEnvironment(): Promise<Environment> {
  const kcat = (await output(["kcat", "-V"])) ?? "";
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: (await output(["git", "describe", "--always", "--exclude=*", "--dirty=+"])) ?? "unknown",
    shipper: (await output([shipperBinary(), "--version"])) ?? "unknown",
    bun: Bun.version,
    kafka: kafkaVersion(),
    kcat: /Version ([\d.]+)/.exec(kcat)?.[1] ?? "not installed",
    librdkafka: /librdkafka ([\d.]+)/.exec(kcat)?.[1] ?? "not installed",
    platform: `${process.platform} ${process.arch}`,
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 1e9),
  };
}

/** What a command prints, or null when it can't be run or fails: the run goes on without its version. */
async function output(command: readonly string[]): Promise<string | null> {
  try {
    return (await runCommand(command[0]!, command.slice(1), { cwd: projectDir })).stdout.trim();
  } catch {
    return null;
  }
}
