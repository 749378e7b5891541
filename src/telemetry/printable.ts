/** What a terminal obeys or shows in another order: controls, line separators, marks of direction. */
// deno-lint-ignore no-control-regex -- they are what is looked for
const OBEYED = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** Text of a file's name, or of a file, as one line for a terminal: "\x1b" for an escape. */
export function printable(text: string): string {
  return text.replace(OBEYED, escaped);
}

/** The same for a text of several lines, such as a page: line feeds and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(OBEYED, (found) => found === "\n" || found === "\t" ? found : escaped(found));
}

/** JSON whose strings hold nothing that a terminal obeys; what it means is the same. `json`: as JSON.stringify writes it. */
export function printableJson(json: string): string {
  return json.replace(
    OBEYED,
    (found) => found === "\n" ? found : `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function escaped(found: string): string {
  const code = found.charCodeAt(0);
  return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}
