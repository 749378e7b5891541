import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import type { Values } from "./option.ts";
import type { kafkaSinkGroup } from "./options_kafka_sink.ts";
import { given, warnUnused } from "./rules_common.ts";

type KafkaValues = Values<typeof kafkaSinkGroup.options>;

/** Rules of the options that say when an event is given up. */
export function checkExpiry(table: CheckedTable, report: Report): void {
  checkMessageTimeout(table, report);
  checkMaxAttempts(table, report);
}

/** An event must not be too old before its batch is sent at all. */
function checkMessageTimeout(table: CheckedTable, report: Report): void {
  const timeout = given(table, "message_timeout_ms");
  if (timeout === null || table.found.get("batch.timeout_ms")?.valid === false) return;
  const { message_timeout_ms: timeoutMs, "batch.timeout_ms": batchMs } = table.values as KafkaValues;
  if (timeoutMs === 0 || timeoutMs > batchMs) return;
  const batch = given(table, "batch.timeout_ms");
  report.add({
    code: "conflict",
    message:
      `Cannot use message_timeout_ms = ${timeoutMs} with batch.timeout_ms = ${batchMs}: events are dropped before their batch is sent`,
    at: timeout.at,
    related: batch === null ? [] : [{ at: batch.at, label: "lets a batch wait" }],
    hint: `use more than ${batchMs}, or 0 to wait for as long as it takes`,
  });
}

/** Who is answered by nobody is refused by nobody. */
function checkMaxAttempts(table: CheckedTable, report: Report): void {
  const attempts = given(table, "retry.max_attempts");
  const acks = given(table, "acks");
  const values = table.values as KafkaValues;
  if (attempts === null || values["retry.max_attempts"] === 0 || acks === null || values.acks !== "none") {
    return;
  }
  warnUnused({
    options: [attempts],
    off: acks,
    reason: 'with acks = "none" no broker answers that it refuses a batch',
    remedy: 'use acks = "all"',
  }, report);
}
