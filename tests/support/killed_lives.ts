import { expect } from "bun:test";
import type { TestKafka } from "./kafka.ts";
import type { OracleWriter } from "./oracle.ts";
import { expectExactly, expectExactlyCommitted } from "./scenario.ts";
import type { Random } from "./seed.ts";
import { runShipper, startShipper } from "./shipper.ts";

/** For the environment of the test build: what is in doubt is looked at again soon. */
export const QUICK = { SHIPPER_TEST_RECHECK_MS: "300" };

/** Options of a sink that gives up and tries again soon. */
export const FAST = `connect_timeout_ms = 1000\nsocket_timeout_ms = 1000\nrequest_timeout_ms = 500
retry.interval_ms = 20\nretry.max_interval_ms = 200`;

const LIFE_MS_MIN = 150;
const LIFE_MS_MAX = 900;

export type ExactDelivery = "exactly_once" | "transactional";

/** Options of a sink for the delivery, with names of its own from its topic. */
export function deliveryOptions(delivery: ExactDelivery, topic: string): string {
  return delivery === "transactional"
    ? `delivery = "transactional"\ntransactional_id = "${topic}"\nposition_topic = "${topic}-positions"`
    : "";
}

/** Runs that are killed at random times, with something written in front of each. */
export async function killOften(
  config: string,
  random: Random,
  rounds: number,
  write: () => void,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    write();
    await using shipper = startShipper({ config, testBuild: true, env: QUICK });
    await Bun.sleep(random.between(LIFE_MS_MIN, LIFE_MS_MAX));
    await shipper.kill();
  }
}

/** A run that has to deliver all that is left. */
export async function finish(config: string, timeoutMs = 120_000): Promise<void> {
  const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: QUICK, timeoutMs });
  expect(exit).toMatchObject({ code: 0 });
}

/** What the writer wrote is in the topic, once and in order, as the readers see it that the delivery is for. */
export async function expectDeliveredBy(
  delivery: ExactDelivery,
  kafka: TestKafka,
  topic: string,
  writer: OracleWriter,
): Promise<void> {
  if (delivery === "transactional") await expectExactlyCommitted(kafka, topic, [writer]);
  else await expectExactly(kafka, topic, [writer]);
}
