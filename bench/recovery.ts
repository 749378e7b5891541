import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startProxy } from "../tests/support/proxy.ts";
import { waitUntil } from "../tests/support/wait_until.ts";
import { Arrivals, numberedLine } from "./lib/arrivals.ts";
import type { Bench } from "./lib/bench.ts";
import { atMost } from "./lib/check.ts";
import { type Guarantee, guaranteeLabel } from "./lib/guarantee.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { type RunningTailer, startTailing } from "./lib/running_shipper.ts";
import { median } from "./lib/statistics.ts";

const ROUNDS = 10;
const PARTITIONS = 6;
/** Lines of each step; every line is a key, so that each step reaches all partitions. */
const LINES = 600;
const ARRIVE_TIMEOUT_MS = 60_000;
/** What comes after the last line would be lines that came twice. */
const SETTLE_MS = 500;
const FIRST_MAX_MS = 1_000;
const GUARANTEES = ["machine", "process", "at_least_once"] as const;

export const recovery: Program = {
  name: "recovery",
  title: "Restart after kill -9 with a batch in doubt on each of six partitions",
  about:
    "A proxy passes requests on and holds the answers, until the broker has a batch on every partition that shipper does not know of; then kill -9. More lines are written, and shipper is started again without anything held. From just before the start until a consumer (kcat, unbuffered) has the first of the new lines, and until it has new lines of all partitions, which come only behind what was in doubt there.",
  run,
};

interface RecoveryRun {
  readonly guarantee: Guarantee;
  readonly firstMs: number;
  readonly allPartitionsMs: number;
  readonly lastMs: number;
  /** Lines that are in the topic twice. */
  readonly duplicates: number;
}

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const runs: RecoveryRun[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const guarantee of GUARANTEES) {
      const run = await measure(bench, guarantee);
      if (guarantee !== "at_least_once" && run.duplicates !== 0) {
        throw new Error(`${run.duplicates} lines came twice under exactly-once delivery`);
      }
      bench.progress(
        `round ${round} of ${rounds}: ${guaranteeLabel(guarantee)}: first new line after ${
          run.firstMs.toFixed(0)
        } ms, on all partitions after ${run.allPartitionsMs.toFixed(0)} ms`,
      );
      runs.push(run);
    }
  }
  const of = (guarantee: Guarantee, figure: (run: RecoveryRun) => number) =>
    runs.filter((each) => each.guarantee === guarantee).map(figure);
  const spread = (values: readonly number[]) =>
    `${median(values).toFixed(0)} (${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)})`;
  return {
    parameters: { partitions: PARTITIONS, linesInDoubt: LINES, newLines: LINES, rounds },
    tables: [{
      title: `Milliseconds from the start, median of ${rounds} rounds (least to most)`,
      columns: ["", "first new line", "new lines on all partitions", "last new line", "lines twice"],
      rows: GUARANTEES.map((guarantee) => [
        guaranteeLabel(guarantee),
        spread(of(guarantee, (each) => each.firstMs)),
        spread(of(guarantee, (each) => each.allPartitionsMs)),
        spread(of(guarantee, (each) => each.lastMs)),
        String(median(of(guarantee, (each) => each.duplicates))),
      ]),
    }],
    checks: (["machine", "process"] as const).map((guarantee) =>
      atMost(
        `${guaranteeLabel(guarantee)}: first new line, slowest run`,
        Math.max(...of(guarantee, (each) => each.firstMs)),
        FIRST_MAX_MS,
        "ms",
      )
    ),
    runs: runs.map((each) => ({ ...each })),
  };
}

async function measure(bench: Bench, guarantee: Guarantee): Promise<RecoveryRun> {
  const kafka = await bench.kafka();
  const topic = await kafka.createTopic(PARTITIONS);
  const dir = bench.runDir();
  const file = join(dir, "app.log");
  writeFileSync(file, "");
  const proxy = await startProxy(kafka.proxied.targetPort, kafka.proxied.listenPort);
  const arrivals = new Arrivals(kafka.bootstrap, topic);
  const start = () =>
    startTailing(dir, {
      bootstrap: proxy.address,
      topic,
      include: [file],
      guarantee,
      keyField: "message",
    });
  let shipper = start();
  try {
    appendLines(file, 0);
    await waitForLines(arrivals, LINES, shipper);
    // Long enough for the acknowledgements to be in the journal.
    await Bun.sleep(SETTLE_MS);
    proxy.setFault({ stall: ["response"] });
    appendLines(file, LINES);
    await waitForLines(arrivals, 2 * LINES, shipper);
    requireAllPartitions(arrivals, LINES);
    await shipper.kill();
    proxy.cut();
    proxy.heal();
    appendLines(file, 2 * LINES);
    const startMs = performance.now();
    shipper = start();
    await waitForLines(arrivals, 3 * LINES, shipper);
    requireAllPartitions(arrivals, 2 * LINES);
    const figures = figuresOf(arrivals, startMs);
    await Bun.sleep(SETTLE_MS);
    return { guarantee, ...figures, duplicates: await kafka.countRecords(topic) - 3 * LINES };
  } finally {
    await shipper.stop();
    await proxy.close();
    await arrivals.stop();
    bench.removeRunDir(dir);
    await kafka.deleteTopics([topic]);
  }
}

/** All at once, so that they are read at once and make one batch a partition. */
function appendLines(file: string, first: number): void {
  let text = "";
  for (let i = 0; i < LINES; i++) text += numberedLine(first + i);
  appendFileSync(file, text);
}

async function waitForLines(arrivals: Arrivals, count: number, shipper: RunningTailer): Promise<void> {
  await waitUntil(`${count} lines arrive`, () => {
    shipper.requireRunning();
    return arrivals.atMs.size === count;
  }, { timeoutMs: ARRIVE_TIMEOUT_MS, pollMs: 2 });
}

/** Clock at the first arrival on each partition among the lines from `first` on. */
function firstOfPartitions(arrivals: Arrivals, first: number): Map<number, number> {
  const firsts = new Map<number, number>();
  for (let number = first; number < first + LINES; number++) {
    const partition = arrivals.partitions.get(number)!;
    const atMs = arrivals.atMs.get(number)!;
    firsts.set(partition, Math.min(firsts.get(partition) ?? Infinity, atMs));
  }
  return firsts;
}

function requireAllPartitions(arrivals: Arrivals, first: number): void {
  const count = firstOfPartitions(arrivals, first).size;
  if (count !== PARTITIONS) {
    throw new Error(`Lines ${first} and up reached ${count} partitions, not ${PARTITIONS}`);
  }
}

function figuresOf(
  arrivals: Arrivals,
  startMs: number,
): Pick<RecoveryRun, "firstMs" | "allPartitionsMs" | "lastMs"> {
  const firsts = [...firstOfPartitions(arrivals, 2 * LINES).values()];
  let last = 0;
  for (let number = 2 * LINES; number < 3 * LINES; number++) {
    last = Math.max(last, arrivals.atMs.get(number)!);
  }
  return {
    firstMs: Math.min(...firsts) - startMs,
    allPartitionsMs: Math.max(...firsts) - startMs,
    lastMs: last - startMs,
  };
}
