import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import type { Values } from "./option.ts";
import type { refusedOptions } from "./options_refused.ts";
import { given, warnUnused } from "./rules_common.ts";

type RefusedValues = Values<typeof refusedOptions>;

/** Dead letters need a place. */
export function checkDeadLetters(table: CheckedTable, report: Report): void {
  const values = table.values as RefusedValues;
  if (table.found.has("dead_letter.file")) return;
  const tooLarge = given(table, "on_too_large");
  if (tooLarge !== null && values.on_too_large === "dead_letter") {
    report.add({
      code: "missing-key",
      message:
        'Cannot use on_too_large = "dead_letter" without "dead_letter.file": there is no place for dead letters',
      at: tooLarge.at,
      hint: 'add, for example, dead_letter.file = "/var/lib/shipper/dead_letters.jsonl"',
    });
  }
  const size = given(table, "dead_letter.max_size");
  warnUnused({
    options: size === null ? [] : [size],
    off: undefined,
    reason: "there is no file of dead letters",
    remedy: "add dead_letter.file",
  }, report);
}
