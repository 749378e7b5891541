// scripts/compat: delivery tests against brokers of other Kafka versions; the table of docs/kafka_versions.md.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startSharedCluster } from "../tests/support/kafka.ts";
import { runningChildren, runTestFiles } from "./lib/bun_tests.ts";
import { tableRow, withRow } from "./lib/compat_table.ts";
import type { Cluster } from "./lib/kafka_cluster.ts";
import { kafkaDir, kafkaVersion } from "./lib/kafka_files.ts";
import { projectDir } from "./lib/project.ts";
import { runCommand } from "./lib/run_command.ts";
import type { TestCase } from "./lib/test_case.ts";

/** The newest of each minor that Maven Central has, 2026-11-26. */
const VERSIONS = [
  "3.0.2",
  "3.1.2",
  "3.2.3",
  "3.3.2",
  "3.4.1",
  "3.5.2",
  "3.6.2",
  "3.7.2",
  "3.8.1",
  "3.9.2",
  "4.0.2",
  "4.1.2",
  "4.2.2",
  "4.3.1",
  "4.4.0",
];

/** What is tried with each: delivery through kills, in all kinds, refusals, and every request that recovery is made of. */
const FILES = ["shipping", "crash", "transactional", "refusals", "kafka_client", "resolve"]
  .map((name) => `tests/integration/${name}_test.ts`);

const TABLE = join(projectDir, "docs", "kafka_versions.md");
const ERROR_LINES_MAX = 3;

let cluster: Cluster | null = null;
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  process.on(signal, async () => {
    for (const child of runningChildren) child.kill("SIGKILL");
    await cluster?.stop();
    process.exit(code);
  });
}

const named = process.argv.slice(2);
const bad = named.find((each) => !/^\d+\.\d+\.\d+$/.test(each));
if (bad !== undefined) {
  console.error(`Error: "${bad}" is no version of Kafka\nUsage: scripts/compat [VERSION...]`);
  process.exit(2);
}
let failedCount = 0;
for (const more of [[], ["--test"]]) {
  await runCommand(process.execPath, ["scripts/build.ts", ...more], { cwd: projectDir });
}
for (const version of named.length === 0 ? VERSIONS : named) failedCount += await tryVersion(version);
process.exit(failedCount === 0 ? 0 : 1);

/** Returns the number of failures; one when the brokers do not start. */
async function tryVersion(version: string): Promise<number> {
  console.log(`Kafka ${version}`);
  process.env.SHIPPER_KAFKA_VERSION = version;
  const progress = (line: string) => console.log(`  ${line}`);
  const date = new Date().toISOString().slice(0, 10);
  try {
    cluster = await startSharedCluster(progress);
  } catch (error) {
    const why = String((error as Error).message).split("\n").slice(0, ERROR_LINES_MAX).join(" ");
    keep(tableRow(version, date, "not started", why));
    return 1;
  }
  try {
    const cases = await runTestFiles(FILES, { SHIPPER_TEST_CLUSTER: cluster.dir }, progress);
    const { result, notes } = judge(cases);
    keep(tableRow(version, date, result, notes));
    return cases.filter(({ status }) => status === "failed").length;
  } finally {
    await cluster.stop();
    cluster = null;
    // Each has a hundred megabytes.
    if (version !== kafkaVersion()) rmSync(kafkaDir(version), { recursive: true, force: true });
  }
}

function judge(cases: readonly TestCase[]): { result: string; notes: string } {
  const count = (status: TestCase["status"]) => cases.filter((each) => each.status === status).length;
  const reasons = cases.filter(({ status }) => status === "skipped")
    .map(({ name }) => `${/(.*) \[skipped: (.*)\]/.exec(name)?.slice(1).join(": ") ?? name}`);
  const skipped = [...new Set(reasons)].map((each) => `left out: ${each}`);
  const failed = cases.filter(({ status }) => status === "failed").map(({ name }) => `failed: ${name}`);
  return {
    result: `${count("passed")} passed, ${count("failed")} failed`,
    notes: [...failed, ...skipped].join("; "),
  };
}

function keep(row: string): void {
  console.log(row);
  writeFileSync(TABLE, withRow(readFileSync(TABLE, "utf8"), row));
}
