import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "./lib/bench.ts";
import { atMost } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { startTailing } from "./lib/running_shipper.ts";
import { median } from "./lib/statistics.ts";

const ROUNDS = 10;
const TIMEOUT_MS = 20_000;
const POLL_MS = 2;
const MEDIAN_MAX_MS = 150;

export const start: Program = {
  name: "start",
  title: "Start of the binary to the first request",
  about:
    "From just before the process is started until the first bytes of a request reach a listener on loopback that stands in for the broker.",
  run,
};

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const startsMs: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const startMs = await measureStart(bench);
    // The first one reads the binary from the disk.
    if (round > 0) startsMs.push(startMs);
    bench.progress(`${round === 0 ? "warm-up" : `round ${round} of ${rounds}`}: ${startMs.toFixed(0)} ms`);
  }
  const middle = median(startsMs);
  return {
    parameters: { rounds },
    tables: [{
      title: "Milliseconds to the first request",
      columns: ["", "median", "least", "most"],
      rows: [[
        "shipper",
        ...[middle, Math.min(...startsMs), Math.max(...startsMs)].map((ms) => ms.toFixed(0)),
      ]],
    }],
    checks: [atMost("median", middle, MEDIAN_MAX_MS, "ms")],
    runs: startsMs.map((startMs) => ({ startMs })),
  };
}

async function measureStart(bench: Bench): Promise<number> {
  let arrivedMs = 0;
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data() {
        if (arrivedMs === 0) arrivedMs = performance.now();
      },
    },
  });
  const dir = bench.runDir();
  const log = join(dir, "app.log");
  writeFileSync(log, "one line\n");
  const setup = { bootstrap: `127.0.0.1:${listener.port}`, topic: "start", include: [log] };
  try {
    const startMs = performance.now();
    // Writes a configuration of some lines first: 0.1 ms.
    const shipper = startTailing(dir, setup);
    try {
      while (arrivedMs === 0) {
        shipper.requireRunning();
        if (performance.now() - startMs > TIMEOUT_MS) {
          throw new Error(`shipper sent no request within ${TIMEOUT_MS} ms`);
        }
        await Bun.sleep(POLL_MS);
      }
    } finally {
      await shipper.kill();
    }
    return arrivedMs - startMs;
  } finally {
    listener.stop(true);
    bench.removeRunDir(dir);
  }
}
