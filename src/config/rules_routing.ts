import { keyPartitioner } from "../batch/partitioners.ts";
import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import type { Values } from "./option.ts";
import type { kafkaSinkGroup } from "./options_kafka_sink.ts";
import { given, warnUnused } from "./rules_common.ts";
import { quote } from "./source_text.ts";
import { isConstantTopic } from "./string_checks.ts";

type KafkaValues = Values<typeof kafkaSinkGroup.options>;

/** Rules about keys, partitions and topics of a Kafka sink. */
export function checkRouting(table: CheckedTable, report: Report): void {
  checkKey(table, report);
  checkPartitioner(table, report);
  checkFallback(table, report);
  checkMissing(table, report);
  checkAllowed(table, report);
}

function checkFallback(table: CheckedTable, report: Report): void {
  const policy = given(table, "on_template_error");
  const { on_template_error: name } = table.values as KafkaValues;
  if (table.found.get("on_template_error")?.valid === false) return;
  const fallback = given(table, "fallback_topic");
  if (name === "fallback_topic" && !table.found.has("fallback_topic")) {
    report.add({
      code: "missing-key",
      message: 'Cannot use on_template_error = "fallback_topic" without "fallback_topic": no topic is named',
      at: policy!.at,
      hint: 'add, for example, fallback_topic = "logs-unsorted"',
    });
  }
  warnUnused({
    options: fallback === null || name === "fallback_topic" ? [] : [fallback],
    off: policy ?? undefined,
    reason: 'on_template_error is not "fallback_topic"',
    remedy: 'use on_template_error = "fallback_topic"',
  }, report);
}

function checkMissing(table: CheckedTable, report: Report): void {
  const found = given(table, "on_topic_missing");
  const hasPlace = table.found.has("dead_letter.file") || table.found.has("dead_letter.topic");
  if (found !== null && table.values["on_topic_missing"] === "dead_letter" && !hasPlace) {
    report.add({
      code: "missing-key",
      message:
        'Cannot use on_topic_missing = "dead_letter" without "dead_letter.file" or "dead_letter.topic": there is no place ' +
        "for dead letters",
      at: found.at,
      hint: 'add, for example, dead_letter.file = "/var/lib/shipper/dead_letters.jsonl"',
    });
  }
  const timeout = given(table, "topic_missing_timeout_ms");
  if (table.found.get("on_topic_missing")?.valid === false) return;
  const { on_topic_missing: policy } = table.values as KafkaValues;
  warnUnused({
    options: timeout === null || policy !== "wait" ? [] : [timeout],
    off: given(table, "on_topic_missing") ?? undefined,
    reason: 'on_topic_missing is "wait"',
    remedy: 'use on_topic_missing = "drop"',
  }, report);
}

/** Fields that no line of text can say. One of JSON can. */
const FIELDS_OF_SHIPPER = ["host", "timestamp", "source_type", "stream", "file"];

function checkAllowed(table: CheckedTable, report: Report): void {
  const topic = given(table, "topic");
  if (topic === null || !isConstantTopic((table.values as KafkaValues).topic)) return;
  const options = ["allowed_topics", "on_template_error", "fallback_topic"].map((key) => given(table, key));
  warnUnused({
    options: options.filter((each) => each !== null),
    off: undefined,
    reason: "topic is the same for every event",
    remedy: "use a field in topic",
  }, report);
}

/** What a line holds may choose the topic: how far that goes has to be said somewhere. `isText`: no line has fields of its own. */
export function checkOpenTopic(table: CheckedTable, isText: boolean, report: Report): void {
  const topic = given(table, "topic");
  if (topic === null || table.found.has("allowed_topics")) return;
  const { topic: template } = table.values as KafkaValues;
  const fields = [...template.matchAll(/\{\{\s*"?(.*?)"?\s*\}\}/gu)].map(([, name]) => name!);
  const isOpen = template.startsWith("{{") || (template.startsWith("%") && fields.length > 0);
  if (!isOpen || (isText && fields.every((name) => FIELDS_OF_SHIPPER.includes(name)))) return;
  report.add({
    code: "open-topic",
    message: `Who writes a line of this sink's sources chooses its topic, any that the credentials allow: ${
      quote(topic.key)
    } begins with a field`,
    at: topic.at,
    hint: 'add allowed_topics, such as ["logs-*"], or put a text in front: topic = "logs-{{unit}}"',
  });
}

/** One of two says what the key is. */
function checkKey(table: CheckedTable, report: Report): void {
  const key = table.found.get("key");
  const keyField = table.found.get("key_field");
  if (key === undefined || keyField === undefined) return;
  const [first, second] = key.at.start < keyField.at.start ? [key, keyField] : [keyField, key];
  report.add({
    code: "conflict",
    message: `Cannot use ${quote(second.key)} with ${quote(first.key)}: a record has one key`,
    at: second.at,
    related: [{ at: first.at, label: first === key ? "makes it from a template" : "makes it from a field" }],
    hint: 'keep one of the two; key = "{{user_id}}" is what key_field = "user_id" is',
  });
}

function checkPartitioner(table: CheckedTable, report: Report): void {
  const found = table.found.get("partitioner");
  const partitioner = given(table, "partitioner");
  const { partitioner: name } = table.values as KafkaValues;
  const hasKey = table.found.has("key") || table.found.has("key_field");
  if (partitioner !== null && keyPartitioner(name!) !== null && !hasKey) {
    report.add({
      code: "conflict",
      message: `Cannot use partitioner = ${
        quote(name!)
      } without "key" or "key_field": there is no key to go by`,
      at: partitioner.at,
      hint: 'add key_field, or use partitioner = "sticky"',
    });
  }
  if (name === "field" && !table.found.has("partition_field")) {
    report.add({
      code: "missing-key",
      message: 'Cannot use partitioner = "field" without "partition_field": no field names the partition',
      at: partitioner!.at,
      hint: 'add, for example, partition_field = "shard"',
    });
  }
  const field = given(table, "partition_field");
  if (field === null || found?.valid === false) return;
  const isUsed = name === "field" || (name === null && !hasKey);
  warnUnused({
    options: isUsed ? [] : [field],
    off: partitioner ?? table.found.get("key") ?? table.found.get("key_field"),
    reason: `partitioner is ${quote(name ?? "murmur2_random")}`,
    remedy: 'use partitioner = "field"',
  }, report);
}
