import type { FakeKafka } from "./support/fake_kafka.ts";
import type { TempDir } from "./support/temp_dir.ts";

/** What is configured for a run. */
export interface Setting {
  readonly batchMaxEvents: number;
  readonly hasTemplated: boolean;
  readonly isPlainExact: boolean;
  readonly isTemplatedExact: boolean;
}

/** What is the same for all runs of a plan. */
interface Settled {
  readonly hasKeys: boolean;
  readonly whenFull: "block" | "drop_newest";
  /** What no broker takes is kept in a file. */
  readonly hasLetters: boolean;
}

/** Everything but data_dir. */
export function wideConfig(dir: TempDir, kafka: FakeKafka, chosen: Settled, setting: Setting): string {
  const { batchMaxEvents, hasTemplated, isPlainExact, isTemplatedExact } = setting;
  const sink = (name: string, topicText: string, isExact: boolean, more: string) => `
[sinks.${name}]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(kafka.bootstrapServers)}
topic = "${topicText}"
batch = { max_events = ${batchMaxEvents}, timeout_ms = 1 }
retry = { interval_ms = 1, max_interval_ms = 5 }
socket_timeout_ms = 100
encoding = { codec = "text" }
delivery = "${isExact ? "exactly_once" : "at_least_once"}"
${chosen.hasLetters ? `dead_letter.file = ${JSON.stringify(dir.file("letters.jsonl"))}` : ""}
${more}
`;
  return `[sources.app]
type = "file"
include = [${JSON.stringify(dir.file("app.log"))}]
rotate_wait_secs = 0.05
glob_minimum_cooldown_ms = 20
decoding.codec = "json"
${sink("plain", "logs", isPlainExact, `buffer.max_events = 40\n${chosen.hasKeys ? 'key_field = "k"' : ""}`)}
${
    hasTemplated
      ? sink(
        "templated",
        "t-{{ t }}",
        isTemplatedExact,
        `buffer = { max_events = 40, when_full = "${chosen.whenFull}" }`,
      )
      : ""
  }
`;
}

export const USUAL: Setting = {
  batchMaxEvents: 5,
  hasTemplated: true,
  isPlainExact: true,
  isTemplatedExact: true,
};
