import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "../tests/support/wait_until.ts";
import { writeAccessLog } from "./lib/access_log.ts";
import type { Bench } from "./lib/bench.ts";
import { atMost } from "./lib/check.ts";
import { cpuSeconds, residentBytes } from "./lib/proc.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { startTailing } from "./lib/running_shipper.ts";

const FILES = 100;
const LINES_PER_FILE = 10;
const SECONDS = 30;
/** What is left of the start is not counted. */
const SETTLE_MS = 5_000;
const DELIVER_TIMEOUT_MS = 30_000;
const CPU_MAX_PERCENT = 0.5;
const RSS_MAX_BYTES = 64e6;

export const idle: Program = {
  name: "idle",
  title: "Idle, one hundred files",
  about:
    "shipper tails one hundred files whose lines it has delivered; then nothing is written. CPU and RSS of the process are read from /proc at the begin and the end.",
  run,
};

async function run(bench: Bench): Promise<ProgramResult> {
  const kafka = await bench.kafka();
  const seconds = bench.options.seconds ?? SECONDS;
  const topic = await kafka.createTopic(1);
  const dir = bench.runDir();
  const logs = join(dir, "logs");
  mkdirSync(logs);
  for (let i = 0; i < FILES; i++) writeAccessLog(join(logs, `${i}.log`), LINES_PER_FILE, "quoted");
  const shipper = startTailing(dir, { bootstrap: kafka.bootstrap, topic, include: [join(logs, "*.log")] });
  try {
    const wanted = FILES * LINES_PER_FILE;
    const isDelivered = async () => {
      shipper.requireRunning();
      return await kafka.countRecords(topic) >= wanted;
    };
    await waitUntil("shipper has delivered what is there", isDelivered, {
      timeoutMs: DELIVER_TIMEOUT_MS,
      pollMs: 200,
    });
    await Bun.sleep(SETTLE_MS);
    bench.progress(`Waiting ${seconds} s while nothing is written`);
    const startCpu = cpuSeconds(shipper.pid);
    const startMs = performance.now();
    await Bun.sleep(seconds * 1_000);
    const cpuPercent = (cpuSeconds(shipper.pid) - startCpu) / (performance.now() - startMs) * 1e5;
    const rssBytes = residentBytes(shipper.pid)!.now;
    return {
      parameters: { files: FILES, seconds },
      tables: [{
        title: `While nothing was written for ${seconds} s`,
        columns: ["", "CPU % of a core", "RSS MB"],
        rows: [["shipper", cpuPercent.toFixed(2), (rssBytes / 1e6).toFixed(1)]],
      }],
      checks: [
        atMost("CPU", cpuPercent, CPU_MAX_PERCENT, "% of a core"),
        atMost("RSS", rssBytes / 1e6, RSS_MAX_BYTES / 1e6, "MB"),
      ],
      runs: [{ cpuPercent, rssBytes }],
    };
  } finally {
    await shipper.stop();
    bench.removeRunDir(dir);
    await kafka.deleteTopics([topic]);
  }
}
