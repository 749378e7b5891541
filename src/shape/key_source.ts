import type { Fields } from "./json_fields.ts";
import type { ColumnWriter } from "./columns.ts";
import { fieldAt, type FieldPath, parseFieldPath, scalarText } from "./fields.ts";
import { UUID_CHARACTERS, writeRandomUuid } from "./random_uuid.ts";
import { Template } from "./template.ts";

/** Of one event: what writing starts with, more is taken as needed. */
export const KEY_ESTIMATE_BYTES = 16;

/** Where keys come from: a field, or a template. A template that is one field is that field. */
export class KeySource {
  /** The field; null: `template` gives the key. */
  readonly path: FieldPath | null;
  readonly template: Template | null;
  /** It has to be written for each event, also where events differ in nothing but their line. */
  readonly isEachOwn: boolean;

  private constructor(path: FieldPath | null, template: Template | null) {
    this.path = path;
    this.template = template;
    this.isEachOwn = template !== null && (template.isRandom || template.fieldNames.has("message"));
  }

  /** Of the options `key_field` and `key`, of which at most one is there; null: there are no keys. Throws a `TypeError` on what cannot be read. */
  static of(keyField: string | null, key: string | null): KeySource | null {
    if (keyField !== null) return new KeySource(parseFieldPath(keyField), null);
    if (key === null) return null;
    const template = new Template(key, { hasUuid: true });
    return template.soleField === null
      ? new KeySource(null, template)
      : new KeySource(template.soleField, null);
  }

  /** Whether the line itself is the key. */
  get isLine(): boolean {
    return this.path !== null && this.path.length === 1 && this.path[0] === "message";
  }

  get usesTime(): boolean {
    return this.template?.usesTime === true;
  }

  /** Nothing of an event is in it. */
  get isConstant(): boolean {
    return this.template !== null && this.template.constant !== null;
  }

  /**
   * Ends the event with its key: the text of a field (an object or array as JSON), or what the template gives. Absent where a field is missing
   * or null. Fields are looked up in `fields`, then in `defaults`.
   */
  write(keys: ColumnWriter, fields: Fields, defaults: Fields, timeMs: number): void {
    const { path, template } = this;
    if (path !== null) {
      const value = fieldAt(Object.hasOwn(fields, path[0]!) ? fields : defaults, path);
      if (value === undefined || value === null) return keys.endAbsent();
      keys.bytes.text(scalarText(value) ?? JSON.stringify(value));
    } else if (template!.isSoleUuid) {
      keys.bytes.reserve(UUID_CHARACTERS);
      writeRandomUuid(keys.bytes.data, keys.bytes.length);
      keys.bytes.length += UUID_CHARACTERS;
    } else {
      const text = template!.render(fields, defaults, timeMs);
      if (text === null) return keys.endAbsent();
      keys.bytes.text(text);
    }
    keys.endEvent();
  }
}
