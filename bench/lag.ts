import type { CompressionCodec } from "../src/config/config.ts";
import { freePorts } from "../scripts/lib/ports.ts";
import type { Bench, Input } from "./lib/bench.ts";
import { atMost } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { describeRun, ship, type ShipRun } from "./lib/ship.ts";
import { median } from "./lib/statistics.ts";
import { formatRate } from "./lib/table.ts";

/** Ten seconds at least: shipper samples its event loop every 100 ms, and a 99th percentile wants a hundred samples. */
const LINES = 10_000_000;
const ROUNDS = 3;
const PARTITIONS = 3;
const SCRAPE_MS = 500;
const P99_MAX_MS = 20;

export const lag: Program = {
  name: "lag",
  title: "Event-loop lag under full load",
  about:
    "`shipper --once` with `[api]` on; /metrics is scraped twice a second, and the last page before the end counts. The machine's cores are shared with the broker, so a part of the lag is waiting for a core.",
  run,
};

interface LagFigures {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

interface LagRun extends ShipRun, LagFigures {}

async function run(bench: Bench): Promise<ProgramResult> {
  const input = bench.input(bench.options.lines ?? LINES);
  const rounds = bench.options.rounds ?? ROUNDS;
  const codecs = bench.options.codecs ?? (["none", "gzip", "snappy", "lz4", "zstd"] as const);
  const runs: LagRun[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const codec of codecs) {
      const run = await measureRun(bench, input, codec);
      bench.progress(`round ${round} of ${rounds}: ${describeRun(run)}, lag p99 ${run.p99Ms.toFixed(1)} ms`);
      runs.push(run);
    }
  }
  bench.forgetInput(input);
  const middle = (codec: CompressionCodec, figure: (run: LagRun) => number) =>
    median(runs.filter((each) => each.codec === codec).map(figure));
  return {
    parameters: { lines: input.lines, partitions: PARTITIONS, rounds, scrapeMs: SCRAPE_MS },
    tables: [{
      title: `Event-loop lag in ms, medians of ${rounds} rounds`,
      columns: ["codec", "p50", "p99", "most", "lines/s"],
      rows: codecs.map((codec) => [
        codec,
        middle(codec, (each) => each.p50Ms).toFixed(1),
        middle(codec, (each) => each.p99Ms).toFixed(1),
        middle(codec, (each) => each.maxMs).toFixed(1),
        formatRate(middle(codec, (each) => each.linesPerSecond)),
      ]),
    }],
    checks: codecs.map((codec) =>
      atMost(`${codec}: p99`, middle(codec, (each) => each.p99Ms), P99_MAX_MS, "ms")
    ),
    runs: runs.map((each) => ({ ...each })),
  };
}

async function measureRun(bench: Bench, input: Input, codec: CompressionCodec): Promise<LagRun> {
  const apiAddress = `127.0.0.1:${(await freePorts(1))[0]}`;
  let isOver = false;
  const shipping = ship(bench, "shipper", { input, partitions: PARTITIONS, codec, apiAddress }).finally(() =>
    isOver = true
  );
  // A failure is thrown by the wait below; until then nobody else looks at it.
  shipping.catch(() => {});
  let last: LagFigures | null = null;
  while (!isOver) {
    await Bun.sleep(SCRAPE_MS);
    last = await scrapeLag(apiAddress) ?? last;
  }
  const run = await shipping;
  if (last === null) {
    throw new Error("shipper ended before its event-loop lag could be read: give more --lines");
  }
  return { ...run, ...last };
}

/** Null while nobody listens there, and before the first sample. */
async function scrapeLag(address: string): Promise<LagFigures | null> {
  let page: string;
  try {
    page = await (await fetch(`http://${address}/metrics`)).text();
  } catch {
    return null; // not started yet, or ended
  }
  return readLag(page);
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
