import { expect, test } from "bun:test";
import fc from "fast-check";
import { NO_PARTITION } from "../../src/event/event_batch.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { FILE, RECEIVED_MS } from "../decode/chunks.ts";
import {
  exceptAt,
  jsonAt,
  type JsonObject,
  onlyAt,
  type Path,
  readJson,
  scalarOf,
  textOf,
  writeJson,
} from "./json_reference.ts";
import { type SeenBatch, shapeText } from "./shape_text.ts";

// Any line, as JSON of which every part is odd in some way, and damaged: all that is in its record against a reading letter by letter.

const spaces = fc.stringMatching(/^[ \t\r]{0,2}$/);
const oddText = fc.constantFrom(
  ...'\\u0000 \\ud83d\\ude00 \\ud800 \\udc00 \\uD83D \\/ \\\\ \\" \\b \\n \\u00e9 é 😀 { } [ ] : , 1234567890123456 :1e5'
    .split(" "),
  "\u2028",
  "\ufeff",
  "\u007f",
  "\u0085",
);
const inString = fc.array(fc.oneof(oddText, fc.stringMatching(/^[a-z ]{0,6}$/)), { maxLength: 5 }).map((
  all,
) => all.join(""));
const name = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      ..."a b a.b 1 0 10 -1 01 4294967294 4294967295 length rawJSON toJSON constructor __proto__ toString"
        .split(" "),
      ..."host timestamp message file source_type h\\u006fst mess\\u0061ge a\\u0000 \\ud800".split(" "),
      "",
      "a b",
    ),
  },
  { weight: 1, arbitrary: inString },
);
const number = fc.oneof(
  fc.constantFrom(
    ..."0 -0 -0.0 1.0 1.50 1e5 1E+5 1e-7 0.0000001 0.1 1e21 1e400 -1e400 1e-400 5e-324".split(" "),
    ..."12345678901234567890 -12345678901234567890 9007199254740993 123456789012345 1234567890123456".split(
      " ",
    ),
    ..."0.12345678901234 0.1234567890123456789 123456789012345.6 0.30000000000000004 10.000000000000".split(
      " ",
    ),
    ..."999999999999999 -999999999999999 99999999999999.9 100000000000000000000000 3e0".split(" "),
  ),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.integer().map(String),
);
const { object } = fc.letrec<{ object: string; value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    number,
    fc.constantFrom("true", "false", "null", '""', "[ ]", "{ }"),
    inString.map((text) => `"${text}"`),
    fc.array(fc.tuple(spaces, tie("value"), spaces), { maxLength: 3 }).map((all) =>
      `[${all.map((parts) => parts.join("")).join()}]`
    ),
    tie("object"),
  ),
  object: fc.array(fc.tuple(spaces, name, spaces, spaces, tie("value"), spaces), { maxLength: 5 }).map((
    all,
  ) => `{${all.map(([a, key, b, c, value, d]) => `${a}"${key}"${b}:${c}${value}${d}`).join()}}`),
}));
const bytes = (arbitrary: fc.Arbitrary<string>) => arbitrary.map((text) => Buffer.from(text));
const damaged = fc.tuple(bytes(object), fc.nat(), fc.nat(255)).map(([data, place, byte]) => {
  if (byte !== 10) data[place % data.length] = byte;
  return data;
});
const noObject = fc.constantFrom(
  ...'[1] 5 null x "x" { {}x 12345678901234567890 {\'a\':1} {"a":01} {"a":+1} {"a":.5} {"a":1.} {"a":NaN}'
    .split(" "),
  "",
  " ",
  "\ufeff{}",
  "\u00a0{}",
  "\u000b{}",
  '{"a":"\t"}',
  '{"a":1,}',
);
const line = fc.oneof(
  { weight: 8, arbitrary: bytes(fc.tuple(spaces, object, spaces).map((parts) => parts.join(""))) },
  { weight: 2, arbitrary: damaged },
  { weight: 1, arbitrary: bytes(noObject) },
);

const path = fc.constantFrom<Path>(
  ...["a", "b", "host", "timestamp", "message", "__proto__", "constructor", "1", "length", "toString"].map((
    each,
  ) => [each]),
  ["a.b"],
  ["a", "b"],
  ["a", "a"],
  ["a", "1"],
  ["b", "0"],
  ["b", "length"],
  ["a", "rawJSON"],
  ["__proto__", "a"],
  ["", "a"],
);
const written = (names: Path) => names.map((each) => /^$|\./u.test(each) ? `"${each}"` : each).join(".");

const FIELDS: JsonObject["members"] = [
  ["timestamp", { kind: "string", text: new Date(RECEIVED_MS).toISOString() }],
  ["host", { kind: "string", text: "web-1" }],
  ["file", { kind: "string", text: FILE.path }],
  ["source_type", { kind: "string", text: "file" }],
];

interface Setup {
  readonly codec: "json" | "text" | "raw";
  readonly list: "none" | "only" | "except";
  readonly paths: readonly Path[];
  readonly key: Path;
  readonly header: Path;
  readonly partition: Path;
}

/** What a surrogate without its other half becomes, in UTF-8. */
const encoded = (text: string) => Buffer.from(text).toString();

/** One line, read slowly. */
class Expected {
  readonly isBad: boolean;
  readonly isObject: boolean;
  readonly own: JsonObject;
  readonly lacking: JsonObject["members"];
  readonly #text: string;
  readonly #setup: Setup;

  constructor(line: Buffer, setup: Setup) {
    this.#text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(line);
    this.#setup = setup;
    this.isBad = !Buffer.from(this.#text).equals(line);
    const read = readJson(this.#text);
    this.isObject = read?.kind === "object";
    this.own = read?.kind === "object"
      ? read
      : { kind: "object", members: [["message", { kind: "string", text: this.#text }]] };
    this.lacking = FIELDS.filter(([field]) => !this.own.members.some(([each]) => each === field));
  }

  get #all(): JsonObject {
    return { kind: "object", members: [...this.own.members, ...this.lacking] };
  }

  get isMessageKept(): boolean {
    const { list, paths } = this.#setup;
    const isNamed = paths.some((each) => each.length === 1 && each[0] === "message");
    return list === "none" || isNamed === (list === "only");
  }

  get message(): string | null {
    return textOf(jsonAt(this.own, ["message"]));
  }

  get value(): string {
    const { codec, list } = this.#setup;
    if (codec === "raw") return this.#text;
    if (codec === "text") return this.isMessageKept ? encoded(this.message ?? "") : "";
    return encoded(list === "none" && this.isObject ? this.#completed : this.#anew);
  }

  /** The line as it is, with what it lacks at its end. */
  get #completed(): string {
    const body = this.#text.replace(/^[ \t\r]+/u, "").replace(/[ \t\r]*\}[ \t\r]*$/u, "");
    const added = this.lacking.map(([field, value]) => `"${field}":${writeJson(value)}`).join();
    return body + (this.own.members.length > 0 && added !== "" ? "," : "") + added + "}";
  }

  get #anew(): string {
    const { list, paths } = this.#setup;
    if (list === "none") return writeJson(this.#all);
    return writeJson(list === "only" ? onlyAt(this.#all, paths) : exceptAt(this.#all, paths));
  }

  get key(): string | null {
    const text = textOf(jsonAt(this.#all, this.#setup.key));
    return text === null ? null : encoded(text);
  }

  get header(): string | null {
    const text = scalarOf(jsonAt(this.#all, this.#setup.header));
    return text === null ? null : encoded(`<${text}>`);
  }

  get partition(): number {
    const value = jsonAt(this.#all, this.#setup.partition);
    const isDigits = value?.kind === "string" && /^\d{1,10}$/u.test(value.text);
    const wanted = isDigits || value?.kind === "number" ? Number(value.text) + 0 : NaN;
    return Number.isInteger(wanted) && wanted >= 0 && wanted < NO_PARTITION ? wanted : NO_PARTITION;
  }
}

function shaped(lines: readonly Buffer[], setup: Setup, metrics: SourceMetrics): SeenBatch {
  const { codec, list, paths, key, header, partition } = setup;
  const names = paths.map(written);
  return shapeText({
    decode: "json",
    codec,
    metrics,
    keyField: written(key),
    partitionField: written(partition),
    headers: [{ name: "h", value: `<{{${written(header)}}}>` }],
    ...(list === "only" ? { onlyFields: names } : list === "except" ? { exceptFields: names } : {}),
  }, Buffer.concat(lines.flatMap((each) => [each, Buffer.from("\n")])));
}

/** As the splitter gives it. */
function asLine(data: Buffer, index: number): Buffer {
  const start = index === 0 && data.subarray(0, 3).equals(Buffer.from("\ufeff")) ? 3 : 0;
  return data.subarray(start, data.length > start && data.at(-1) === 13 ? -1 : undefined);
}

test("a record holds what the line holds", () => {
  const setups = fc.record<Setup>({
    codec: fc.constantFrom("json", "json", "text", "raw"),
    list: fc.constantFrom("none", "only", "except"),
    paths: fc.array(path, { maxLength: 4 }),
    key: path,
    header: path,
    partition: path,
  });
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 6 }), setups, (lines, setup) => {
      const metrics = new SourceMetrics();
      const seen = shaped(lines, setup, metrics);
      const expected = lines.map((each, i) => new Expected(asLine(each, i), setup));
      expect(seen.values).toEqual(expected.map(({ value }) => value));
      expect(seen.keys).toEqual(expected.map(({ key }) => key));
      expect(seen.headers).toEqual(expected.map(({ header }) => header === null ? [] : [["h", header]]));
      expect(seen.partitions).toEqual(expected.map(({ partition }) => partition));
      const count = (isSo: (each: Expected) => boolean) => expected.filter(isSo).length;
      const isText = setup.codec === "text";
      expect(metrics.decodeErrorsCount).toBe(count(({ isObject }) => !isObject));
      expect(metrics.missingMessageCount).toBe(
        count(({ isMessageKept, message }) => isText && isMessageKept && message === null),
      );
      expect(metrics.invalidUtf8Count).toBe(
        count(({ isBad, isObject, isMessageKept }) =>
          isBad && (setup.codec === "json" || (isText && isObject && isMessageKept))
        ),
      );
    }),
    { numRuns: 1_500 },
  );
}, 60_000);
