// scripts/test and scripts/check: runs checks, build and tests, and counts them all.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { startSharedCluster } from "../tests/support/kafka.ts";
import { runCheck, runChecks } from "./lib/checks.ts";
import { runningChildren, runTestLanes } from "./lib/bun_tests.ts";
import type { Cluster } from "./lib/kafka_cluster.ts";
import { projectDir } from "./lib/project.ts";
import { judgeSkips, summaryLine, type TestCase } from "./lib/test_case.ts";

const SLOWEST_LISTED = 10;
/** Folders under tests/ whose tests need the binary, and most of them a broker. */
const BROKER_FOLDERS = ["integration", "fault", "regression"];
/** Files that run at once, each with a broker of its own: most of these tests wait most of the time. */
const BROKER_LANES = 3;
/** The same for files that need no broker. */
const PLAIN_LANES = [{}, {}];

const args = process.argv.slice(2);
const isBrokerless = args.includes("--no-broker");
const filters = args.filter((arg) => !arg.startsWith("-"));
const unknown = args.find((arg) => arg.startsWith("-") && arg !== "--no-broker");
if (unknown !== undefined) {
  console.error(`Error: Unknown option "${unknown}"\nUsage: scripts/test [FILTER]...`);
  process.exit(2);
}

const startMs = performance.now();
/** One for each lane: its proxied listener has one port. */
const clusters: Cluster[] = [];
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  process.on(signal, async () => {
    for (const child of runningChildren) child.kill("SIGKILL");
    await stopClusters();
    process.exit(code);
  });
}

const cases = judgeSkips(await runEverything(), allowedSkips());
report(cases);
process.exit(cases.some((testCase) => testCase.status === "failed") ? 1 : 0);

async function runEverything(): Promise<TestCase[]> {
  const files = testFiles().filter((file) =>
    filters.length === 0 || filters.some((filter) => file.includes(filter))
  );
  const needsBroker = (file: string) => BROKER_FOLDERS.some((folder) => file.startsWith(`tests/${folder}/`));
  const brokerFiles = isBrokerless ? [] : files.filter(needsBroker);
  const plainFiles = files.filter((file) => !needsBroker(file));
  if (files.length === 0) {
    console.error(`Error: No test file matches ${filters.join(", ")}`);
    process.exit(2);
  }
  const results: TestCase[] = [];
  if (filters.length === 0) results.push(...await runChecks(progress));
  if (brokerFiles.length === 0) return [...results, ...await runTestLanes(plainFiles, PLAIN_LANES, progress)];

  results.push(await runCheck("build", [process.execPath, "scripts/build.ts"], "", progress));
  const testBuild = [process.execPath, "scripts/build.ts", "--test"];
  results.push(await runCheck("build for tests", testBuild, "", progress));
  const starting = startClusters(Math.min(BROKER_LANES, brokerFiles.length));
  results.push(...await runTestLanes(plainFiles, PLAIN_LANES, progress));
  const failed = await starting;
  if (failed !== null) return [...results, failed];
  const lanes = clusters.map(({ dir }) => ({ SHIPPER_TEST_CLUSTER: dir }));
  results.push(...await runTestLanes(brokerFiles, lanes, progress));
  await stopClusters();
  return results;
}

async function stopClusters(): Promise<void> {
  for (const cluster of clusters.splice(0)) await cluster.stop();
}

/** Starts the brokers that the tests share; the failed case when one does not come up. */
async function startClusters(count: number): Promise<TestCase | null> {
  try {
    for (let i = 0; i < count; i++) clusters.push(await startSharedCluster(progress));
    return null;
  } catch (error) {
    const message = (error as Error).message;
    progress(`Kafka: FAILED\n${message}`);
    return { file: "checks", name: "start Kafka", seconds: 0, status: "failed", message };
  }
}

function testFiles(): string[] {
  return readdirSync(join(projectDir, "tests"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith("_test.ts") || name.endsWith("_test.tsx"))
    .map((name) => `tests/${name}`)
    .sort();
}

/** Reasons in scripts/allowed_skips.txt, one a line; "#" starts a comment. */
function allowedSkips(): Set<string> {
  const lines = readFileSync(join(projectDir, "scripts", "allowed_skips.txt"), "utf8").split("\n");
  return new Set(lines.map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#")));
}

function progress(line: string): void {
  const seconds = ((performance.now() - startMs) / 1000).toFixed(0).padStart(4);
  console.log(`${seconds} s  ${line}`);
}

function report(cases: readonly TestCase[]): void {
  const tests = cases.filter((testCase) => testCase.file !== "checks");
  const slowest = [...tests].sort((a, b) => b.seconds - a.seconds).slice(0, SLOWEST_LISTED);
  if (slowest.length > 0) console.log(`\nThe slowest tests:`);
  for (const { seconds, file, name } of slowest) {
    console.log(`${seconds.toFixed(2).padStart(8)} s  ${file}: ${name}`);
  }

  const skipped = cases.filter((testCase) => testCase.status === "skipped");
  if (skipped.length > 0) console.log("\nSkipped:");
  for (const { file, name } of skipped) console.log(`  ${file}: ${name}`);

  const failed = cases.filter((testCase) => testCase.status === "failed");
  if (failed.length > 0) console.log("\nFailed:");
  for (const { file, name, message } of failed) console.log(`  ${file}: ${name}: ${message.split("\n")[0]}`);

  console.log(`\nTook ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  console.log(summaryLine(cases));
}
