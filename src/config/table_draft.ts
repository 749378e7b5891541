import type { OptionGroup } from "./option.ts";
import { unreadSecretFiles } from "./secret_file.ts";
import { quote, type Span } from "./source_text.ts";
import { isSwitchedOff } from "./switched_off.ts";
import type { TomlEntry, TomlNode, TomlTable } from "./toml_tree.ts";
import type { CheckSession } from "./value_context.ts";

/** An option that stands in the file. */
export interface FoundOption {
  /** The key as written, from the table's own level: "linger_ms" for "batch.timeout_ms". */
  readonly key: string;
  /** Key and value. */
  readonly at: Span;
  readonly valueAt: Span;
  /** As written: before expansion. */
  readonly node: TomlNode;
  readonly valid: boolean;
  /** Another option implies it, such as security_protocol; `key` and the spans are that one's, and its value another. */
  readonly implied: boolean;
}

/** A table whose own options were checked one by one, while more of them are derived from what stands there. */
export class TableDraft {
  readonly table: TomlTable;
  readonly group: OptionGroup;
  readonly session: CheckSession;
  /** As in CheckedTable. */
  readonly values: Record<string, unknown> = {};
  readonly found = new Map<string, FoundOption>();

  /** Every option has its default. */
  constructor(table: TomlTable, group: OptionGroup, session: CheckSession) {
    this.table = table;
    this.group = group;
    this.session = session;
    for (const [key, option] of Object.entries(group.options)) this.values[key] = option.default ?? null;
  }

  /** The session for a value of this option: one that reads no file for what has no effect. */
  sessionFor(key: string): CheckSession {
    const isOff = this.group.options[key]!.secret && isSwitchedOff(this.table, this.group, key);
    return isOff ? { ...this.session, readSecretFile: unreadSecretFiles } : this.session;
  }

  /** Sets an option by its own key; the value of one that is not valid is not looked at. */
  set(key: string, value: unknown, found: FoundOption): void {
    if (found.valid) this.values[key] = value;
    this.found.set(key, found);
  }

  /**
   * Sets an option by another name, which may stand beside the first if both say the same. If not, that is
   * reported and the first one stays.
   */
  join(key: string, value: unknown, found: FoundOption): void {
    const before = this.found.get(key);
    if (before === undefined) {
      this.set(key, value, found);
      return;
    }
    if (!before.valid || !found.valid || isSame(this.values[key], value)) return;
    const [first, second] = before.at.start < found.at.start ? [before, found] : [found, before];
    this.session.report.add({
      code: "conflict",
      message: `Cannot use ${quote(second.key)} with ${quote(first.key)}: they give ${key} different values`,
      at: second.at,
      related: [{ at: first.at, label: "gives it another value" }],
      hint: "keep one of the two",
    });
  }
}

/** How an entry of a table becomes a found option. */
export function foundAt(entry: TomlEntry, key: string, valid: boolean): FoundOption {
  return { key, at: entry.at, valueAt: entry.node.at, node: entry.node, valid, implied: false };
}

/** Checked values are strings, numbers, booleans, null, or lists of them. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
