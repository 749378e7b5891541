import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "../tests/support/wait_until.ts";
import { Arrivals, numberedLine } from "./lib/arrivals.ts";
import type { Bench } from "./lib/bench.ts";
import { atMost } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { rsyslogVersion, startRsyslog } from "./lib/rsyslog.ts";
import { type RunningTailer, startTailing } from "./lib/running_shipper.ts";
import { percentile } from "./lib/statistics.ts";

const SECONDS = 30;
const ROUNDS = 2;
const LINES_PER_SECOND = 20;
/** Lines come up to so much late, so that they do not fall into step with anybody's timer. */
const JITTER_MS = 20;
/** Lines that are written, and not counted, before the others. */
const WARM_UP_LINES = 40;
const ARRIVE_TIMEOUT_MS = 30_000;
const P50_MAX_MS = 10;
const P99_MAX_MS = 25;

export const latency: Program = {
  name: "latency",
  title: "From write() to the consumer at 20 lines/s",
  about:
    "A writer appends lines to a file that is tailed (default linger, acks=all); a consumer (kcat, unbuffered) notes when each arrives. One process holds both clocks.",
  run,
};

type Tailer = "shipper" | "rsyslog";
type Start = (
  dir: string,
  setup: { bootstrap: string; topic: string; file: string },
) => Promise<RunningTailer>;

const TAILERS: Readonly<Record<Tailer, Start>> = {
  shipper: async (dir, { file, ...setup }) => startTailing(dir, { ...setup, include: [file] }),
  rsyslog: startRsyslog,
};

interface Round {
  readonly tailer: Tailer;
  readonly latenciesMs: readonly number[];
}

async function run(bench: Bench): Promise<ProgramResult> {
  const seconds = bench.options.seconds ?? SECONDS;
  const rounds = bench.options.rounds ?? ROUNDS;
  const tailers: Tailer[] = bench.options.rsyslog ? ["shipper", "rsyslog"] : ["shipper"];
  const measured: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const tailer of tailers) {
      bench.progress(`round ${round} of ${rounds}: ${tailer}, ${seconds} s`);
      measured.push({ tailer, latenciesMs: await measureRound(bench, tailer, seconds * LINES_PER_SECOND) });
    }
  }
  const all = (tailer: Tailer) =>
    measured.filter((each) => each.tailer === tailer).flatMap((each) => each.latenciesMs);
  return {
    parameters: {
      linesPerSecond: LINES_PER_SECOND,
      seconds,
      rounds,
      ...(bench.options.rsyslog ? { rsyslog: await rsyslogVersion() } : {}),
    },
    tables: [{
      title: "Milliseconds from write() to the consumer, all rounds together",
      columns: ["", "p50", "p90", "p99", "most", "lines"],
      rows: tailers.map((tailer) => [
        tailer,
        ...[50, 90, 99, 100].map((percent) => percentile(all(tailer), percent).toFixed(1)),
        String(all(tailer).length),
      ]),
    }],
    checks: [
      atMost("p50", percentile(all("shipper"), 50), P50_MAX_MS, "ms"),
      atMost("p99", percentile(all("shipper"), 99), P99_MAX_MS, "ms"),
    ],
    runs: measured.map(({ tailer, latenciesMs }) => ({
      tailer,
      latenciesMs: latenciesMs.map((ms) => Number(ms.toFixed(2))),
    })),
  };
}

async function measureRound(bench: Bench, tailer: Tailer, lines: number): Promise<number[]> {
  const kafka = await bench.kafka();
  const topic = await kafka.createTopic(1);
  const dir = bench.runDir();
  const file = join(dir, "app.log");
  writeFileSync(file, "");
  const arrivals = new Arrivals(kafka.bootstrap, topic);
  const running = await TAILERS[tailer](dir, { bootstrap: kafka.bootstrap, topic, file });
  try {
    const sentMs = await writeLines(file, WARM_UP_LINES, lines, async (sent) => {
      // The path is warm when the first line came through; only then the clock is of interest.
      if (sent === 1) await waitFor("the first line arrives", () => arrivals.atMs.has(0), running);
    });
    await waitFor("every line arrives", () => arrivals.atMs.size === sentMs.length, running);
    return sentMs.slice(WARM_UP_LINES).map((sent, i) => arrivals.atMs.get(WARM_UP_LINES + i)! - sent);
  } finally {
    await running.stop();
    await arrivals.stop();
    bench.removeRunDir(dir);
    await kafka.deleteTopics([topic]);
  }
}

async function waitFor(what: string, condition: () => boolean, running: RunningTailer): Promise<void> {
  await waitUntil(what, () => {
    running.requireRunning();
    return condition();
  }, { timeoutMs: ARRIVE_TIMEOUT_MS });
}

/** Appends numbered lines, one write() each, and returns when each was written. */
async function writeLines(
  path: string,
  warmUpLines: number,
  lines: number,
  afterLine: (sent: number) => Promise<void>,
): Promise<number[]> {
  const file = openSync(path, "a");
  const sentMs: number[] = [];
  try {
    let dueMs = performance.now();
    for (let number = 0; number < warmUpLines + lines; number++) {
      const line = numberedLine(number);
      sentMs.push(performance.now());
      writeSync(file, line);
      await afterLine(number + 1);
      dueMs = Math.max(dueMs, sentMs.at(-1)! - 1_000 / LINES_PER_SECOND) + 1_000 / LINES_PER_SECOND;
      await Bun.sleep(Math.max(0, dueMs + Math.random() * JITTER_MS - performance.now()));
    }
  } finally {
    closeSync(file);
  }
  return sentMs;
}
