import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import { quote } from "./source_text.ts";
import type { FoundOption } from "./table_draft.ts";

/** What the rules between options share. */

/** The option, when it stands in the file and is good. */
export function given(table: CheckedTable, key: string): FoundOption | null {
  const found = table.found.get(key);
  return found !== undefined && found.valid ? found : null;
}

export interface Unused {
  /** In the order of the file; may be none. */
  readonly options: readonly FoundOption[];
  /** What switches them off, when it stands in the file. */
  readonly off: FoundOption | undefined;
  /** Goes after "Option ... has no effect: ". */
  readonly reason: string;
  /** What to type so that they have one. */
  readonly remedy: string;
}

/** One warning that names everything that is switched off: nothing of it is opened or used. */
export function warnUnused({ options: all, off, reason, remedy }: Unused, report: Report): void {
  // What is wrong with the others is reported already.
  const options = all.filter((each) => each.valid);
  if (options.length === 0) return;
  // One that implies several is named once.
  const keys = [...new Set(options.map((each) => each.key))];
  const names = keys.map((each) => quote(each)).join(", ");
  report.add({
    code: "unused-option",
    message: `${keys.length === 1 ? `Option ${names} has` : `Options ${names} have`} no effect: ${reason}`,
    at: options[0]!.at,
    related: off === undefined ? [] : [{ at: off.at, label: "switches it off" }],
    hint: `${remedy}, or remove ${keys.length === 1 ? "it" : "them"}`,
  });
}
