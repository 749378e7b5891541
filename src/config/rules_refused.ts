import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import type { kafkaSinkGroup } from "./options_kafka_sink.ts";
import type { Values } from "./option.ts";
import { given, warnUnused } from "./rules_common.ts";
import { quote } from "./source_text.ts";

type KafkaValues = Values<typeof kafkaSinkGroup.options>;

/** Dead letters need a place, one alone, and not among what is delivered. */
export function checkDeadLetters(table: CheckedTable, report: Report): void {
  const values = table.values as KafkaValues;
  const file = table.found.get("dead_letter.file");
  const topic = table.found.get("dead_letter.topic");
  if (file !== undefined && topic !== undefined) {
    const [first, second] = file.at.start < topic.at.start ? [file, topic] : [topic, file];
    report.add({
      code: "conflict",
      message: `Cannot use ${quote(second.key)} with ${quote(first.key)}: dead letters go to one place`,
      at: second.at,
      related: [{ at: first.at, label: "is one" }],
      hint: "remove one of the two",
    });
    return;
  }
  for (const key of ["on_too_large", "on_template_error"] as const) {
    const policy = given(table, key);
    if (file !== undefined || topic !== undefined || policy === null || values[key] !== "dead_letter") {
      continue;
    }
    report.add({
      code: "missing-key",
      message:
        `Cannot use ${key} = "dead_letter" without "dead_letter.file" or "dead_letter.topic": there is no place ` +
        "for dead letters",
      at: policy.at,
      hint: 'add, for example, dead_letter.file = "/var/lib/shipper/dead_letters.jsonl"',
    });
  }
  const size = given(table, "dead_letter.max_size");
  if (file === undefined) {
    warnUnused({
      options: size === null ? [] : [size],
      off: topic,
      reason: "there is no file of dead letters",
      remedy: "use dead_letter.file",
    }, report);
  }
  checkTopic(table, report);
}

/** What the brokers refuse must not come back to the same topic, nor among positions. */
function checkTopic(table: CheckedTable, report: Report): void {
  const letters = given(table, "dead_letter.topic");
  if (letters === null) return;
  const values = table.values as KafkaValues;
  const name = values["dead_letter.topic"];
  const isTransactional = values.delivery === "transactional";
  const other = name === values.topic
    ? given(table, "topic")
    : isTransactional && name === values.position_topic
    ? given(table, "position_topic")
    : undefined;
  if (other === undefined) return;
  report.add({
    code: "conflict",
    message: `Cannot keep dead letters in topic ${quote(name!)}: ${
      name === values.topic ? "events go to it" : "positions are stored in it"
    }`,
    at: letters.at,
    related: other === null ? [] : [{ at: other.at, label: "is the same" }],
    hint: "name another topic",
  });
}
