import { createHash } from "node:crypto";
import { appendFileSync, readFileSync } from "node:fs";
import { readLetterFile } from "../../../src/dead_letter/letter_reader.ts";
import { OracleWriter } from "../../support/oracle.ts";
import { filesToKafka } from "../../support/scenario.ts";
import { runShipper, startShipper } from "../../support/shipper.ts";
import { tempDir } from "../../support/temp_dir.ts";
import { type FaultProgram, type FaultRun, require } from "./program.ts";

const FAST = `connect_timeout_ms = 2000\nsocket_timeout_ms = 3000\nrequest_timeout_ms = 2000
retry.interval_ms = 20\nretry.max_interval_ms = 200\nbatch.max_bytes = 20000`;
const ENV = { SHIPPER_TEST_RECHECK_MS: "200" };
const END_TIMEOUT_MS = 120_000;

/** About 8 KB that no codec makes small enough. */
function hugeLine(number: number): string {
  const part = (i: number) => createHash("sha256").update(`${number} ${i}`).digest("base64");
  return `huge ${number} ${Array.from({ length: 180 }, (_, i) => part(i)).join("")}`;
}

/** What no broker takes, killed over and over while it is being kept: all letters are there, and the rest exactly. */
async function killedLetters(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("killed-letters");
  const topic = await kafka.createTopic({ partitions: 3, configs: { "max.message.bytes": "4000" } });
  const file = dir.file("dead.jsonl");
  const sink = `${FAST}\ndead_letter.file = ${JSON.stringify(file)}`;
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
  const writer = new OracleWriter("killed-letters", "a.log");
  const path = dir.file(writer.file);
  const huge: string[] = [];
  const rounds = run.isQuick ? 15 : 100;
  for (let round = 0; round < rounds; round++) {
    for (let i = run.random.between(1, 5); i > 0; i--) {
      writer.append(path, run.random.between(1, 80));
      huge.push(hugeLine(huge.length));
      appendFileSync(path, `${huge.at(-1)}\n`);
    }
    await using shipper = startShipper({ config, testBuild: true, env: ENV });
    await Bun.sleep(run.random.between(100, 1_200));
    await shipper.kill();
  }
  const args = ["--once"];
  const exit = await runShipper({ config, args, testBuild: true, env: ENV, timeoutMs: END_TIMEOUT_MS });
  require(exit.code === 0, `It ended with ${exit.code}: ${exit.stderr.slice(-2_000)}`);
  await run.check(kafka, topic, [writer]);
  const text = readFileSync(path);
  const values = new Map<string, string>();
  let letterCount = 0;
  for (const found of readLetterFile(file)) {
    if ("badLine" in found) continue;
    letterCount++;
    const { id, value, offset } = found.letter;
    require(
      text.subarray(offset, offset + value.length).equals(value),
      `Letter ${id} is not what is at ${offset}`,
    );
    require((values.get(id) ?? String(value)) === String(value), `Id ${id} stands for two events`);
    values.set(id, String(value));
  }
  const kept = new Set(values.values());
  const lostCount = huge.filter((line) => !kept.has(line)).length;
  require(
    lostCount === 0 && values.size === huge.length,
    `${lostCount} letters lost, ${values.size} of ${huge.length} there`,
  );
  return `${rounds} times kill -9: ${huge.length} letters, ${letterCount - values.size} of them stored again`;
}

/** What happens to what brokers never take. */
export const letterPrograms: readonly FaultProgram[] = [
  {
    name: "dead-letters",
    title: "events that no broker takes, and kill -9 over and over",
    run: killedLetters,
  },
];
