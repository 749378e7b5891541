import { checkValue } from "./check_value.ts";
import { type ForeignKey, foreignKey } from "./foreign_keys.ts";
import type { Option, OptionGroup } from "./option.ts";
import { looksSecret, quote, type Span } from "./source_text.ts";
import { nearest } from "./suggest.ts";
import { foundAt, type FoundOption, TableDraft } from "./table_draft.ts";
import type { TomlEntry, TomlTable } from "./toml_tree.ts";
import { type CheckSession, INVALID, maskNode } from "./value_context.ts";
import { kindNoun } from "./wrong_type.ts";

/** A table after its options were checked one by one. */
export interface CheckedTable {
  readonly group: OptionGroup;
  /** The table as it is written: "[sinks.events]"; "the top level". */
  readonly label: string;
  readonly at: Span;
  /**
   * Every option of the group: its value, or its default (null when there is none, or when the value was
   * refused).
   */
  readonly values: Readonly<Record<string, unknown>>;
  /** By the option's own key. */
  readonly found: ReadonlyMap<string, FoundOption>;
}

/** What a required option is missing from, for the message. */
export interface TableIdentity {
  readonly label: string;
  /** "sink "events"", "source "app"". */
  readonly subject: string;
  /** What to point at, and the words that stand there: the value of `type`. */
  readonly requiredBy: { readonly at: Span; readonly label: string };
}

/**
 * Checks a table against a group: unknown keys, values, and missing keys. The group's `tables` are left to
 * who knows them: `derive` is called before missing keys are looked for, and may set more options.
 */
export function checkTable(
  table: TomlTable,
  group: OptionGroup,
  identity: TableIdentity,
  session: CheckSession,
  otherGroups: readonly OptionGroup[] = [],
  derive: (draft: TableDraft) => void = () => {},
): CheckedTable {
  const draft = new TableDraft(table, group, session);
  const checker = new TableChecker(draft, identity, otherGroups);
  const { tables = [] } = group;
  for (const entry of table.entries.values()) {
    if (!tables.includes(entry.key)) checker.checkEntry(entry, "");
  }
  checker.noteMisspelt();
  derive(draft);
  checker.checkMissing();
  return { group, label: identity.label, at: table.at, values: draft.values, found: draft.found };
}

class TableChecker {
  readonly #draft: TableDraft;
  readonly #group: OptionGroup;
  readonly #identity: TableIdentity;
  readonly #session: CheckSession;
  readonly #otherGroups: readonly OptionGroup[];
  /** Options by every spelling of their key. */
  readonly #byKey = new Map<string, string>();
  /** "buffer" of "buffer.max_size". */
  readonly #tables = new Set<string>();
  /** Options that are probably there, misspelt: by their own key, what stands there. */
  readonly #misspelt = new Map<string, FoundOption>();

  constructor(draft: TableDraft, identity: TableIdentity, otherGroups: readonly OptionGroup[]) {
    this.#draft = draft;
    this.#group = draft.group;
    this.#identity = identity;
    this.#session = draft.session;
    this.#otherGroups = otherGroups;
    for (const [key, option] of Object.entries(draft.group.options)) {
      for (const spelling of [key, ...option.aliases]) {
        this.#byKey.set(spelling, key);
        for (let dot = spelling.indexOf("."); dot !== -1; dot = spelling.indexOf(".", dot + 1)) {
          this.#tables.add(spelling.slice(0, dot));
        }
      }
    }
  }

  checkEntry(entry: TomlEntry, prefix: string): void {
    const path = prefix + entry.key;
    // A quoted key with a dot in it is one key, and no option has one.
    const known = entry.key.includes(".") ? undefined : this.#byKey.get(path);
    if (known !== undefined) {
      this.#checkOption(entry, path, known);
    } else if (!entry.key.includes(".") && this.#tables.has(path)) {
      if (entry.node.kind === "table") {
        for (const inner of entry.node.entries.values()) this.checkEntry(inner, `${path}.`);
      } else {
        this.#reportNoTable(entry, path);
      }
    } else {
      this.#reportUnknown(entry, path);
    }
  }

  #checkOption(entry: TomlEntry, path: string, key: string): void {
    const option = this.#group.options[key]!;
    const before = this.#draft.found.get(key);
    if (before !== undefined) {
      this.#session.report.add({
        code: "conflict",
        message: `Cannot use ${quote(path)} with ${quote(before.key)}: they are two names of one option`,
        at: entry.at,
        related: [{ at: before.at, label: "sets it first" }],
        hint: `keep ${key} alone`,
      });
      if (option.secret) maskNode(entry.node);
      return;
    }
    const value = checkValue(entry.node, path, option, this.#draft.sessionFor(key));
    this.#draft.set(key, value, foundAt(entry, path, value !== INVALID));
  }

  #reportNoTable(entry: TomlEntry, path: string): void {
    if (looksSecret(path)) maskNode(entry.node);
    const inner = Object.keys(this.#group.options).find((each) => each.startsWith(`${path}.`))!;
    this.#session.report.add({
      code: "wrong-type",
      message: `Cannot read ${quote(path)}: expected a table of options, found ${kindNoun(entry.node)}`,
      at: entry.node.at,
      hint: `write, for example, ${inner} = ${this.#group.options[inner]!.example}`,
    });
  }

  #reportUnknown(entry: TomlEntry, path: string): void {
    const foreign = foreignKey(path, this.#group);
    const near = foreign === null
      ? this.#nearestKeys(path, entry.key)
      : foreign.option === null
      ? []
      : [foreign.option];
    if (looksSecret(path) || near.some(looksSecret) || this.#besideSecret(path)) maskNode(entry.node);
    else maskSecretsInside(entry);
    if (this.#isPlanned(path)) {
      this.#session.report.add({
        code: "not-supported",
        message: `Cannot read option ${quote(path)}: this version of shipper does not have it`,
        at: entry.keyAt,
        hint: "remove it; shipper generate prints the options that there are",
      });
      return;
    }
    for (const each of near) {
      const key = this.#byKey.get(each);
      if (key !== undefined) this.#misspelt.set(key, foundAt(entry, path, false));
    }
    this.#session.report.add({
      code: "unknown-key",
      message: `Cannot read option ${quote(path)}: ${this.#identity.label} has no such option`,
      at: entry.keyAt,
      hint: this.#unknownHint(path, entry.key, near, foreign),
    });
  }

  /** The keys that were probably meant, in the order of the declaration; none when nothing is near. */
  #nearestKeys(path: string, last: string): string[] {
    const spellings = [...this.#byKey.keys(), ...this.#tables, ...(this.#group.tables ?? [])];
    const byPath = nearest(path, spellings);
    if (byPath !== null) return [byPath];
    // "max_events" alone may stand for "batch.max_events" or "buffer.max_events".
    const lastParts = new Map(spellings.map((each) => [each, each.slice(each.lastIndexOf(".") + 1)]));
    const part = nearest(last, lastParts.values());
    return part === null ? [] : spellings.filter((each) => lastParts.get(each) === part);
  }

  /** True for a key in a table that holds secrets, such as "sasl.pw". */
  #besideSecret(path: string): boolean {
    const table = path.slice(0, path.indexOf(".") + 1);
    return table !== "" &&
      Object.entries(this.#group.options).some(([key, option]) => option.secret && key.startsWith(table));
  }

  #isPlanned(path: string): boolean {
    return this.#group.planned.some((each) => each === path || each.startsWith(`${path}.`));
  }

  #unknownHint(path: string, last: string, near: readonly string[], foreign: ForeignKey | null): string {
    if (last.includes(".") && this.#byKey.has(path)) {
      return `remove the quotes, which make the dots part of one name: ${path}`;
    }
    const other = this.#otherGroups.find((each) =>
      each !== this.#group && (Object.hasOwn(each.options, path) || (each.tables ?? []).includes(path))
    );
    if (other !== undefined) {
      const place = other.table === "" ? "the top level" : `type = ${quote(other.type ?? "")}`;
      return `${quote(path)} is an option of ${place}; remove it here`;
    }
    if (foreign !== null) return foreign.hint;
    if (near.length > 0) return `a similar option exists: ${near.map((each) => quote(each)).join(" or ")}`;
    return "remove it; shipper generate prints the options that there are";
  }

  /** What is misspelt stands there with a value that is not good: no rule finds it missing, and one mistake is reported once. */
  noteMisspelt(): void {
    for (const [key, found] of this.#misspelt) {
      if (!this.#draft.found.has(key)) this.#draft.set(key, null, found);
    }
  }

  checkMissing(): void {
    for (const [key, option] of Object.entries(this.#group.options)) {
      if (this.#draft.found.has(key)) continue;
      if (option.required) {
        const { at, label } = this.#identity.requiredBy;
        const type = this.#group.type;
        const who = type === null ? this.#identity.label : `type ${quote(type)}`;
        this.#reportMissing(key, option, who, at, label);
      } else if (option.requiredWhen !== null && this.#isRequired(option)) {
        const condition = this.#draft.found.get(option.requiredWhen)!;
        const who = condition.implied ? quote(condition.key) : `${condition.key} = true`;
        this.#reportMissing(key, option, who, condition.valueAt, "required by this");
      }
    }
  }

  #isRequired({ requiredWhen, requiredUnless: unless }: Option<unknown>): boolean {
    const { values, found } = this.#draft;
    if (values[requiredWhen!] !== true) return false;
    if (unless === null) return true;
    // What it was meant to be is not known.
    if (found.get(unless.option)?.valid === false) return false;
    return !unless.values.includes(String(values[unless.option]));
  }

  #reportMissing(key: string, option: Option<unknown>, who: string, at: Span, label: string): void {
    this.#session.report.add({
      code: "missing-key",
      message: `Cannot build ${this.#identity.subject}: ${who} requires the option ${quote(key)}`,
      at,
      label,
      hint: `add, for example, ${key} = ${option.example}`,
    });
  }
}

/** Masks what looks secret below a key that is not known. */
export function maskSecretsInside(entry: TomlEntry): void {
  const { node } = entry;
  if (looksSecret(entry.key)) maskNode(node);
  else if (node.kind === "table") { for (const inner of node.entries.values()) maskSecretsInside(inner); }
  else if (node.kind === "array") {
    for (const item of node.items) maskSecretsInside({ ...entry, node: item });
  } else if (/PRIVATE KEY-----|pass(?:word)?\s*=/iu.test(String(node.value))) maskNode(node);
}
