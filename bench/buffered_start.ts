import { waitUntil } from "../tests/support/wait_until.ts";
import type { Bench } from "./lib/bench.ts";
import type { BenchKafka } from "./lib/bench_kafka.ts";
import { BufferedShipper, type Load, loadOf } from "./lib/buffered_shipper.ts";
import { atMost } from "./lib/check.ts";
import { residentBytes } from "./lib/proc.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { median } from "./lib/statistics.ts";
import { formatMegabytes } from "./lib/table.ts";

/** `--gigabytes 10` is what the target speaks of. */
const GIGABYTES = 2;
const SMALL_BYTES = 200e6;
const ROUNDS = 5;
/** Delivered before the outage: there are a producer id and acknowledgements when it comes. */
const BEFORE_BYTES = 1e6;
/** What was taken from stdin last is in the buffer by then. */
const SETTLE_MS = 1_000;
const FIRST_TIMEOUT_MS = 60_000;
const POLL_MS = 5;
/** The topic does not grow for so long: nothing of the dead process is on its way any more. */
const QUIET_MS = 1_000;
const FIRST_MAX_MS = 2_000;

export const bufferedStart: Program = {
  name: "buffered-start",
  title: "Start after kill -9 with a full disk buffer",
  about:
    "shipper delivers some lines, the broker goes away, a disk buffer is filled from stdin, kill -9, the broker comes back. From just before shipper is started until the end of the topic has moved (asked every 5 ms). After that it is killed at once and started again, round after round: the first round is the one after the outage, in the others a batch in doubt is found out about first. In the end the buffer is drained: every line must be in the topic once.",
  run,
};

interface StartRun {
  readonly label: string;
  readonly bufferedBytes: number;
  readonly round: number;
  readonly firstMs: number;
  /** Peak, until the first records are there. */
  readonly peakRssBytes: number;
}

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const large = loadOf(bench, (bench.options.gigabytes ?? GIGABYTES) * 1e9);
  const loads = [loadOf(bench, SMALL_BYTES), large];
  const runs: StartRun[] = [];
  for (const load of loads) runs.push(...await measure(bench, load, rounds));
  const of = (load: Load, figure: (run: StartRun) => number) =>
    runs.filter((each) => each.bufferedBytes === load.sizeBytes).map(figure);
  return {
    parameters: { bufferedBytes: large.sizeBytes, codec: "lz4", rounds },
    tables: [{
      title: "Milliseconds to the first record; what was buffered at the first start",
      columns: ["buffered", "after the outage", "median", "least", "most", "peak RSS MB"],
      rows: loads.map((load) => {
        const firstsMs = of(load, (each) => each.firstMs);
        return [
          labelOf(load),
          ...[firstsMs[0]!, median(firstsMs), Math.min(...firstsMs), Math.max(...firstsMs)].map((ms) =>
            ms.toFixed(0)
          ),
          formatMegabytes(Math.max(...of(load, (each) => each.peakRssBytes))),
        ];
      }),
    }],
    checks: [
      atMost(
        `${labelOf(large)}: first record, slowest start`,
        Math.max(...of(large, (each) => each.firstMs)),
        FIRST_MAX_MS,
        "ms",
      ),
    ],
    runs: runs.map((each) => ({ ...each })),
  };
}

const labelOf = ({ sizeBytes }: Load) => `${(sizeBytes / 1e6).toFixed(0)} MB`;

async function measure(bench: Bench, load: Load, rounds: number): Promise<StartRun[]> {
  const kafka = await bench.kafka();
  const before = loadOf(bench, BEFORE_BYTES);
  const shipper = await BufferedShipper.start(bench, load.sizeBytes);
  const runs: StartRun[] = [];
  try {
    await shipper.take(before);
    await shipper.waitUntilDelivered(before.lines);
    await kafka.whileAway(async () => {
      await shipper.take(load);
      await Bun.sleep(SETTLE_MS);
      await shipper.kill();
    });
    for (let round = 1; round <= rounds; round++) {
      const { firstMs, peakRssBytes } = await measureStart(kafka, shipper);
      runs.push({ label: labelOf(load), bufferedBytes: load.sizeBytes, round, firstMs, peakRssBytes });
      bench.progress(
        `${labelOf(load)}, round ${round} of ${rounds}: first record after ${firstMs.toFixed(0)} ms`,
      );
    }
    shipper.startAgain();
    await shipper.waitUntilDelivered(before.lines + load.lines);
    return runs;
  } finally {
    await shipper.remove();
  }
}

/** Starts a killed shipper, and kills it again. */
async function measureStart(
  kafka: BenchKafka,
  shipper: BufferedShipper,
): Promise<Pick<StartRun, "firstMs" | "peakRssBytes">> {
  const count = await quietCount(kafka, shipper.topic);
  const startMs = performance.now();
  shipper.startAgain();
  await waitUntil("the first record of the buffer is in the topic", async () => {
    shipper.requireRunning();
    return await kafka.countRecords(shipper.topic) > count;
  }, { timeoutMs: FIRST_TIMEOUT_MS, pollMs: POLL_MS });
  const firstMs = performance.now() - startMs;
  const peakRssBytes = residentBytes(shipper.pid)?.peak ?? 0;
  await shipper.kill();
  return { firstMs, peakRssBytes };
}

/** Records in a topic that does not grow any more. */
async function quietCount(kafka: BenchKafka, topic: string): Promise<number> {
  let count = await kafka.countRecords(topic);
  await waitUntil("the topic does not grow any more", async () => {
    await Bun.sleep(QUIET_MS);
    const before = count;
    count = await kafka.countRecords(topic);
    return count === before;
  }, { timeoutMs: FIRST_TIMEOUT_MS });
  return count;
}
