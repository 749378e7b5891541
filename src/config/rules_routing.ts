import { keyPartitioner } from "../batch/partitioners.ts";
import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import type { Values } from "./option.ts";
import type { kafkaSinkGroup } from "./options_kafka_sink.ts";
import { given, warnUnused } from "./rules_common.ts";
import { quote } from "./source_text.ts";

type KafkaValues = Values<typeof kafkaSinkGroup.options>;

/** Rules about keys, partitions and topics of a Kafka sink. */
export function checkRouting(table: CheckedTable, report: Report): void {
  checkKey(table, report);
  checkPartitioner(table, report);
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
