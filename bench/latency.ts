import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "../tests/support/wait_until.ts";
import { Arrivals } from "./lib/arrivals.ts";
import type { Bench } from "./lib/bench.ts";
import { atMost, type Check } from "./lib/check.ts";
import { type Guarantee, guaranteeLabel } from "./lib/guarantee.ts";
import { writePacedLines } from "./lib/paced_lines.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { rsyslogVersion, startRsyslog } from "./lib/rsyslog.ts";
import { type RunningTailer, startTailing } from "./lib/running_shipper.ts";
import { percentile } from "./lib/statistics.ts";

const SECONDS = 30;
const ROUNDS = 2;
const LINES_PER_SECOND = 20;
/** Lines that are written, and not counted, before the others. */
const WARM_UP_LINES = 40;
const ARRIVE_TIMEOUT_MS = 30_000;
/** At most, in ms. What waits for no disk has the figures of the version without a journal. */
const TARGETS: Readonly<Record<Guarantee, { readonly p50: number; readonly p99: number }>> = {
  at_least_once: { p50: 10, p99: 25 },
  process: { p50: 10, p99: 25 },
  machine: { p50: 12, p99: 30 },
};
const GUARANTEES = Object.keys(TARGETS) as Guarantee[];

export const latency: Program = {
  name: "latency",
  title: "From write() to the consumer at 20 lines/s",
  about:
    "A writer appends lines to a file that is tailed (default linger, acks=all); a consumer (kcat, unbuffered) notes when each arrives. One process holds both clocks. shipper delivers at least once, and exactly once with both kinds of durability, in turn.",
  run,
};

type Tailer = Guarantee | "rsyslog";
type Start = (
  dir: string,
  setup: { bootstrap: string; topic: string; file: string },
) => Promise<RunningTailer>;

const startOf = (tailer: Tailer): Start =>
  tailer === "rsyslog"
    ? startRsyslog
    : async (dir, { file, ...setup }) => startTailing(dir, { ...setup, include: [file], guarantee: tailer });

const labelOf = (tailer: Tailer) => tailer === "rsyslog" ? tailer : `shipper, ${guaranteeLabel(tailer)}`;

interface Round {
  readonly tailer: Tailer;
  readonly latenciesMs: readonly number[];
}

async function run(bench: Bench): Promise<ProgramResult> {
  const seconds = bench.options.seconds ?? SECONDS;
  const rounds = bench.options.rounds ?? ROUNDS;
  const tailers: Tailer[] = bench.options.rsyslog ? [...GUARANTEES, "rsyslog"] : GUARANTEES;
  const measured: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const tailer of tailers) {
      bench.progress(`round ${round} of ${rounds}: ${labelOf(tailer)}, ${seconds} s`);
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
        labelOf(tailer),
        ...[50, 90, 99, 100].map((percent) => percentile(all(tailer), percent).toFixed(1)),
        String(all(tailer).length),
      ]),
    }],
    checks: GUARANTEES.flatMap((guarantee) => checksOf(guarantee, all(guarantee))),
    runs: measured.map(({ tailer, latenciesMs }) => ({
      tailer,
      latenciesMs: latenciesMs.map((ms) => Number(ms.toFixed(2))),
    })),
  };
}

function checksOf(guarantee: Guarantee, latenciesMs: readonly number[]): Check[] {
  const { p50, p99 } = TARGETS[guarantee];
  const label = guaranteeLabel(guarantee);
  return [
    atMost(`${label}: p50`, percentile(latenciesMs, 50), p50, "ms"),
    atMost(`${label}: p99`, percentile(latenciesMs, 99), p99, "ms"),
  ];
}

async function measureRound(bench: Bench, tailer: Tailer, lines: number): Promise<number[]> {
  const kafka = await bench.kafka();
  const topic = await kafka.createTopic(1);
  const dir = bench.runDir();
  const file = join(dir, "app.log");
  writeFileSync(file, "");
  const arrivals = new Arrivals(kafka.bootstrap, topic);
  const running = await startOf(tailer)(dir, { bootstrap: kafka.bootstrap, topic, file });
  try {
    const range = { first: 0, count: WARM_UP_LINES + lines };
    const sentMs = await writePacedLines(file, LINES_PER_SECOND, range, async (sent) => {
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
