import type { CompressionCodec } from "../src/config/config.ts";
import { freePorts } from "../scripts/lib/ports.ts";
import type { Bench, Input } from "./lib/bench.ts";
import { atMost } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { scrapePage } from "./lib/metrics_page.ts";
import { describeRun, ship, type ShipJob, type ShipRun } from "./lib/ship.ts";
import { median } from "./lib/statistics.ts";
import { formatMegabytes, formatRate } from "./lib/table.ts";

/** Ten seconds at least: shipper samples its event loop every 100 ms, and a 99th percentile wants a hundred samples. */
const LINES = 10_000_000;
const ROUNDS = 3;
const PARTITIONS = 3;
const SCRAPE_MS = 500;
const P99_MAX_MS = 20;
const RSS_MAX_BYTES = 128e6;

export const lag: Program = {
  name: "lag",
  title: "Event-loop lag under full load",
  about:
    '`shipper --once` with `[api]` on; /metrics is scraped twice a second, and the last page before the end counts. Delivery is exactly once with durability "machine" (the default) but where the table says otherwise. The machine\'s cores are shared with the broker, so a part of the lag is waiting for a core.',
  run,
};

interface LagFigures {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

interface LagRun extends ShipRun, LagFigures {
  readonly label: string;
}

/** What is shipped in a row of the table. */
type Row = Pick<ShipJob, "codec" | "guarantee" | "keyField"> & { readonly label: string };

async function run(bench: Bench): Promise<ProgramResult> {
  const input = bench.input(bench.options.lines ?? LINES);
  const rounds = bench.options.rounds ?? ROUNDS;
  const rows = (bench.options.codecs ?? (["none", "gzip", "snappy", "lz4", "zstd"] as const)).flatMap(rowsOf);
  const runs: LagRun[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const row of rows) {
      const run = await measureRun(bench, input, row);
      bench.progress(`round ${round} of ${rounds}: ${describeRun(run)}, lag p99 ${run.p99Ms.toFixed(1)} ms`);
      runs.push(run);
    }
  }
  bench.forgetInput(input);
  const middle = ({ label }: Row, figure: (run: LagRun) => number) =>
    median(runs.filter((each) => each.label === label).map(figure));
  const peak = ({ label }: Row) =>
    Math.max(...runs.filter((each) => each.label === label).map((each) => each.peakRssBytes));
  return {
    parameters: { lines: input.lines, partitions: PARTITIONS, rounds, scrapeMs: SCRAPE_MS },
    tables: [{
      title: `Event-loop lag in ms, medians of ${rounds} rounds; peak RSS of the highest`,
      columns: ["", "p50", "p99", "most", "lines/s", "peak RSS MB"],
      rows: rows.map((row) => [
        row.label,
        middle(row, (each) => each.p50Ms).toFixed(1),
        middle(row, (each) => each.p99Ms).toFixed(1),
        middle(row, (each) => each.maxMs).toFixed(1),
        formatRate(middle(row, (each) => each.linesPerSecond)),
        formatMegabytes(peak(row)),
      ]),
    }],
    checks: rows.flatMap((row) => [
      atMost(`${row.label}: p99`, middle(row, (each) => each.p99Ms), P99_MAX_MS, "ms"),
      atMost(`${row.label}: peak RSS, highest run`, peak(row) / 1e6, RSS_MAX_BYTES / 1e6, "MB"),
    ]),
    runs: runs.map((each) => ({ ...each })),
  };
}

/** The journal has most to write with keys, and nothing at least once: both beside lz4, where batches are fastest. */
function rowsOf(codec: CompressionCodec): Row[] {
  const row = { codec, label: codec };
  if (codec !== "lz4") return [row];
  return [
    row,
    { codec, label: "lz4, at least once", guarantee: "at_least_once" },
    { codec, label: "lz4, every line a key", keyField: "message" },
  ];
}

async function measureRun(bench: Bench, input: Input, { label, ...how }: Row): Promise<LagRun> {
  const apiAddress = `127.0.0.1:${(await freePorts(1))[0]}`;
  let isOver = false;
  const shipping = ship(bench, "shipper", { input, partitions: PARTITIONS, apiAddress, ...how }).finally(() =>
    isOver = true
  );
  // A failure is thrown by the wait below; until then nobody else looks at it.
  shipping.catch(() => {});
  let last: LagFigures | null = null;
  while (!isOver) {
    await Bun.sleep(SCRAPE_MS);
    const page = await scrapePage(apiAddress);
    last = (page === null ? null : readLag(page)) ?? last;
  }
  const run = await shipping;
  if (last === null) {
    throw new Error("shipper ended before its event-loop lag could be read: give more --lines");
  }
  return { label, ...run, ...last };
}

/** The lag in a page of /metrics, or null when it is not there. */
export function readLag(page: string): LagFigures | null {
  const figure = (quantile: string) => {
    const line = page.split("\n").find((each) =>
      each.startsWith(`shipper_event_loop_lag_seconds{quantile="${quantile}"}`)
    );
    return line === undefined ? null : Number(line.slice(line.indexOf("}") + 1)) * 1_000;
  };
  const [p50Ms, p99Ms, maxMs] = [figure("0.5"), figure("0.99"), figure("1")];
  return p50Ms === null || p99Ms === null || maxMs === null ? null : { p50Ms, p99Ms, maxMs };
}
