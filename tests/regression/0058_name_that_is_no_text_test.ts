// A file whose name is not UTF-8 was left out in silence: no path leads to it, and ENOENT says nothing.
import { expect, test } from "bun:test";
import fs from "node:fs";
import { checkFiles } from "../../src/check/file_checks.ts";
import { Bench, until } from "../source/harness.ts";

/** False where the filesystem takes no such names. */
function write(bench: Bench, name: string): boolean {
  try {
    fs.writeFileSync(Buffer.from(bench.path(name), "latin1"), "hidden\n");
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EILSEQ") return false;
    throw error;
  }
}

test("a file whose name is not UTF-8 is told once, and counted", async () => {
  await using bench = new Bench();
  if (!write(bench, "caf\xe9.log")) return;
  bench.write("a.log", "one\n");
  const run = await bench.start({ config: { globMinimumCooldownMs: 10 } });
  await run.outlet.untilCount(1);
  await until(() => (run.metrics.errors.values.get("EILSEQ") ?? 0) >= 3);
  expect(run.log.matching("not UTF-8")).toEqual([
    `warn: Cannot read "${
      bench.path("caf\ufffd.log")
    }": its name is not UTF-8; rename it, and what writes it`,
  ]);
});

test("shipper check names a file whose name is not UTF-8", async () => {
  await using bench = new Bench();
  if (!write(bench, "caf\xe9.log")) return;
  const { results } = await checkFiles(bench.config(), bench.dataDir, AbortSignal.timeout(30_000));
  expect(results).toMatchObject([{
    status: "failed",
    code: "EILSEQ",
    hint: "Rename it, and what writes it: a name has to be UTF-8",
  }]);
});
