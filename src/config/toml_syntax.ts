import { getStaticTOMLValue, ParseError, parseTOML } from "toml-eslint-parser";
import type { AST } from "toml-eslint-parser";
import type { Report } from "./diagnostic.ts";
import { quote, type SourceText, type Span } from "./source_text.ts";

/**
 * What the parser says, in words that say what to do. The parser's own errors have no code, so its English
 * texts are the keys.
 */
const SYNTAX_ERRORS: Readonly<Record<string, readonly [message: string, hint: string]>> = {
  "Unterminated string constant": [
    "a string is not closed",
    'end it with the quote it began with, as in key = "value"',
  ],
  "Unterminated table-key": ["a table header is not closed", "end the header with ], as in [sinks.events]"],
  "Unterminated array": ["an array is not closed", 'end it with ], as in ["a", "b"]'],
  "Unterminated inline table": ["an inline table is not closed", "end it with }, as in { enabled = true }"],
  "Empty bare keys are not allowed": ["a key is missing", "write a name before the equals sign"],
  "Must be a newline": ["two things stand on one line", "put each option on a line of its own"],
  "Expected equal (=) token": ["an equals sign is missing", 'write key = "value"'],
  "Unspecified values are invalid": [
    "a value is missing",
    'write one after the equals sign, as in key = "value"',
  ],
  "Expected comma (,) token": ["a comma is missing", 'separate items by commas, as in ["a", "b"]'],
  "The key, equals sign, and value must be on the same line": [
    "key, equals sign and value stand on different lines",
    'put them on one line, as in key = "value"',
  ],
  "Leading zeros are not allowed": ["a number begins with a zero", "remove the zero, or quote the value"],
  "Invalid character in escape sequence": [
    "a backslash stands before a character that cannot follow it",
    "write \\\\ for a backslash, or use single quotes: 'C:\\logs\\app.log'",
  ],
};

/** Reports why a text is not TOML: the parser stops at the first reason. */
export function reportSyntaxError(file: SourceText, error: unknown, report: Report): void {
  file.maskLikelySecrets();
  if (!(error instanceof ParseError)) {
    // Nesting deeper than the parser's stack.
    const message = `Cannot read ${quote(file.path)}: its tables or arrays are nested too deeply`;
    report.addForFile("toml-syntax", file, message, "no option needs more than three levels");
    return;
  }
  const start = Math.min(error.index, file.text.length);
  const rest = file.text.slice(start);
  const reference = /^\$\{[^}\n]*\}/u.exec(rest)?.[0];
  if (reference !== undefined) {
    report.add({
      code: "toml-syntax",
      message: `Cannot read ${quote(file.path)} as TOML: ${quote(reference)} stands outside a string`,
      at: { file, start, end: start + reference.length },
      hint: `put it in quotes: "${reference}"; where a number or true/false is wanted, it is converted`,
    });
    return;
  }
  if (error.message === "Defining a key multiple times is invalid") {
    reportDuplicateKey(file, start, report);
    return;
  }
  if (error.message === "Unspecified values are invalid") {
    // The parser points at what comes instead, perhaps lines below.
    const equals = file.text.lastIndexOf("=", start - 1);
    reportSyntax(file, equals, equals + 1, ...SYNTAX_ERRORS[error.message]!, report);
    return;
  }
  if (error.message === "Unexpected character" && /^[A-Za-z0-9_."'-]+[ \t]*=/u.test(rest)) {
    const hint = "end the list with ], and put commas between its items";
    reportSyntax(file, start, start + 1, "an option stands where a list goes on", hint, report);
    return;
  }
  const foreign = foreignSyntax(file.text, start, rest);
  if (foreign !== null) {
    reportSyntax(file, start, Math.min(start + 1, file.text.length), ...foreign, report);
    return;
  }
  const known = SYNTAX_ERRORS[error.message];
  const word = /^[^\s=,[\]{}#"']+/u.exec(rest)?.[0];
  const bareWord = error.message === "Unexpected character" && word !== undefined && /^[A-Za-z]/u.test(word);
  const what = bareWord
    ? "a text stands without quotes"
    : known?.[0] ?? error.message.charAt(0).toLowerCase() + error.message.slice(1);
  const end = bareWord ? start + word.length : Math.min(start + 1, file.text.length);
  const hint = bareWord
    ? "texts are written in quotes; only numbers, true and false are not"
    : known?.[1] ?? null;
  reportSyntax(file, start, end, what, hint, report);
}

/** What is there of another language, or of a text processor; null: nothing that is known. */
function foreignSyntax(text: string, start: number, rest: string): [what: string, hint: string] | null {
  if (rest.startsWith("{") && text.slice(0, start).trim() === "") {
    return ["it begins as JSON does", "shipper generate --sources file --sinks kafka prints a file in TOML"];
  }
  if (/^:(?:\s|$)/u.test(rest)) {
    return [
      "a colon stands where an equals sign belongs",
      'write key = "value"; a table begins with [sinks.events]',
    ];
  }
  if (/^[\u2018-\u201f\u00ab\u00bb\u0060]/u.test(rest)) {
    return ["a quote is none that TOML knows", 'write straight quotes: "value"'];
  }
  return null;
}

function reportSyntax(
  file: SourceText,
  start: number,
  end: number,
  what: string,
  hint: string | null,
  report: Report,
): void {
  const message = `Cannot read ${quote(file.path)} as TOML: ${what}`;
  report.add({ code: "toml-syntax", message, at: { file, start, end }, hint });
}

function reportDuplicateKey(file: SourceText, start: number, report: Report): void {
  const key = /^(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+)/u.exec(file.text.slice(start))?.[0] ?? "";
  const first = findFirst(file, start);
  report.add({
    code: "duplicate-key",
    message: `Cannot read ${quote(file.path)}: ${
      quote(key.replace(/^["']|["']$/gu, ""))
    } is set a second time`,
    at: { file, start, end: start + Math.max(1, key.length) },
    related: first === null ? [] : [{ at: first, label: "set here first" }],
    hint: "keep one of the two",
  });
}

/**
 * Where the key at `start`, which the parser refused as a second one, was set first. The lines above are
 * TOML, and so is the line itself, alone: their keys are compared. Null when that does not find it, as inside
 * of an inline table.
 */
function findFirst(file: SourceText, start: number): Span | null {
  const lineStart = file.text.lastIndexOf("\n", start - 1) + 1;
  const lineEnd = file.text.indexOf("\n", start);
  let above: AST.TOMLTopLevelTable;
  let line: AST.TOMLTopLevelTable;
  try {
    above = parseTOML(file.text.slice(0, lineStart)).body[0];
    line = parseTOML(file.text.slice(lineStart, lineEnd === -1 ? undefined : lineEnd)).body[0];
  } catch {
    // The line goes on below: the second place is shown alone.
    return null;
  }
  const lastTable = above.body.findLast((each) => each.type === "TOMLTable");
  const item = line.body[0];
  if (item === undefined) return null;
  const keyOf = (each: AST.TOMLKeyValue | AST.TOMLTable) => getStaticTOMLValue(each.key);
  const prefix = item.type === "TOMLTable" || lastTable === undefined ? [] : keyOf(lastTable);
  const wanted = JSON.stringify([...prefix, ...keyOf(item)]);
  for (const each of above.body) {
    const path = keyOf(each);
    if (JSON.stringify(path) === wanted) return { file, start: each.key.range[0], end: each.key.range[1] };
    const inner = each.type === "TOMLTable" ? each.body : [];
    const found = inner.find((keyValue) => JSON.stringify([...path, ...keyOf(keyValue)]) === wanted);
    if (found !== undefined) return { file, start: found.key.range[0], end: found.key.range[1] };
  }
  return null;
}
