import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import type { Values } from "./option.ts";
import type { kafkaSinkGroup } from "./options_kafka_sink.ts";
import { given } from "./rules_common.ts";

/** The time for an attempt to connect grows from the one to the other. */
export function checkConnectTimeouts(table: CheckedTable, report: Report): void {
  const max = given(table, "connect_timeout_max_ms");
  if (max === null || table.found.get("connect_timeout_ms")?.valid === false) return;
  const values = table.values as Values<typeof kafkaSinkGroup.options>;
  const { connect_timeout_ms: firstMs, connect_timeout_max_ms: maxMs } = values;
  if (maxMs! >= firstMs) return;
  const first = given(table, "connect_timeout_ms");
  report.add({
    code: "conflict",
    message:
      `Cannot use connect_timeout_max_ms = ${maxMs} with connect_timeout_ms = ${firstMs}: the first attempt may take longer than any`,
    at: max.at,
    related: first === null ? [] : [{ at: first.at, label: "is more" }],
    hint: `use at least ${firstMs}, or lower connect_timeout_ms`,
  });
}
