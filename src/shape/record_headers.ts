import type { HeaderConfig } from "../config/config.ts";
import { encodeHeaders, HEADERS_MAX, prefixed } from "../event/record_headers.ts";
import { varintBytes, writeVarint } from "../event/varint.ts";
import type { ByteWriter } from "./byte_writer.ts";
import type { Fields } from "./json_fields.ts";
import { Template } from "./template.ts";

/** Of one event: what writing starts with, more is taken as needed. */
export const HEADERS_ESTIMATE_BYTES = 64;

/** One header, compiled. */
interface CompiledHeader {
  /** The name with its length, and behind it the value with its own where that never varies. */
  readonly fixed: Buffer;
  /** The value where it varies. */
  readonly template: Template | null;
}

/** `headers` of a sink, compiled once: writes those of an event as its record will hold them. */
export class HeaderTemplates {
  readonly #headers: readonly CompiledHeader[];
  /** Names of the outermost fields that are used. */
  readonly fieldNames: ReadonlySet<string>;
  /** Whether the time is used. */
  readonly usesTime: boolean;
  /** Every event has the same. */
  readonly isConstant: boolean;

  /** Throws a `TypeError` when a template cannot be read, a `RangeError` beyond `HEADERS_MAX`. */
  constructor(headers: readonly HeaderConfig[]) {
    if (headers.length > HEADERS_MAX) throw new RangeError(`Cannot give a record ${headers.length} headers`);
    const templates = headers.map(({ value }) => new Template(value));
    this.#headers = headers.map(({ name }, i): CompiledHeader => {
      const template = templates[i]!;
      const { constant } = template;
      if (constant === null) return { fixed: prefixed(Buffer.from(name)), template };
      return { fixed: encodeHeaders([[name, constant]]).subarray(1), template: null };
    });
    this.fieldNames = new Set(templates.flatMap((each) => [...each.fieldNames]));
    this.usesTime = templates.some((each) => each.usesTime);
    this.isConstant = this.#headers.every(({ template }) => template === null);
  }

  /**
   * Appends the headers of one event: nothing where it has none. A header of which a field is missing is left out. Fields are looked up as
   * `Template.render` does.
   */
  write(target: ByteWriter, fields: Fields, defaults: Fields, timeMs: number): void {
    const countAt = target.length;
    target.reserve(1);
    target.length++;
    let count = 0;
    for (let i = 0; i < this.#headers.length; i++) {
      const { fixed, template } = this.#headers[i]!;
      const text = template === null ? null : template.render(fields, defaults, timeMs);
      if (template !== null && text === null) continue;
      count++;
      target.copy(fixed, 0, fixed.length);
      if (text !== null) writeText(target, text);
    }
    if (count === 0) target.length = countAt;
    else target.data[countAt] = count << 1;
  }
}

/** Its length in bytes, and the text as UTF-8. */
function writeText(target: ByteWriter, text: string): void {
  const sizeBytes = Buffer.byteLength(text);
  target.reserve(varintBytes(sizeBytes) + sizeBytes);
  target.length = writeVarint(target.data, target.length, sizeBytes);
  target.length += target.data.write(text, target.length);
}
