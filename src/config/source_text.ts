/**
 * The text of one configuration file with what diagnostics need from it: line and column of an offset, a line to show, and the ranges that hold
 * secrets. Offsets are UTF-16 indexes into `text`; lines and columns start at 1, columns count code points.
 */

/** A half-open range of `file.text`. */
export interface Span {
  readonly file: SourceText;
  readonly start: number;
  readonly end: number;
}

export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Characters of a source line that are shown; longer lines are cut around the place that is pointed at. */
const SHOWN_CHARACTERS_MAX = 160;

export class SourceText {
  /** As the user named it; "<stdin>" when it came from there. */
  readonly path: string;
  readonly text: string;
  /** Order on the command line: diagnostics of the first file come first. */
  readonly index: number;
  readonly #lineStarts: number[] = [0];
  readonly #secrets: { start: number; end: number }[] = [];

  constructor(path: string, text: string, index: number) {
    this.path = path === "-" ? "<stdin>" : path;
    // An editor's byte order mark is not part of the first key.
    this.text = text.startsWith("\uFEFF") ? text.slice(1) : text;
    this.index = index;
    for (let at = this.text.indexOf("\n"); at !== -1; at = this.text.indexOf("\n", at + 1)) {
      this.#lineStarts.push(at + 1);
    }
  }

  /** Line and column of an offset. */
  place(offset: number): Place {
    const line = this.#lineOf(offset);
    const start = this.#lineStarts[line]!;
    return { line: line + 1, column: countCodePoints(this.text.slice(start, offset)) + 1 };
  }

  /** The characters in this range are shown as asterisks from now on. */
  maskSecret(start: number, end: number): void {
    this.#secrets.push({ start, end });
  }

  /** Masks what looks like a secret in a text that could not be parsed, where no option is known by its position. */
  maskLikelySecrets(): void {
    const assignment = /^[ \t]*[^#\n=]*?(?:pass|pwd|secret|token|credential|jaas|key)[^\n=]*=[ \t]*/gimu;
    for (let match = assignment.exec(this.text); match !== null; match = assignment.exec(this.text)) {
      const value = match.index + match[0].length;
      const start = value + quoteWidth(this.text.slice(value, value + 3));
      let end = this.#lineEnd(this.#lineOf(start));
      if (start === value + 3) {
        const close = this.text.indexOf(this.text.slice(value, start), start);
        end = close === -1 ? this.text.length : close;
      }
      if (isBareReference(this.text.slice(value, end).trim())) continue;
      this.maskSecret(start, end);
      assignment.lastIndex = Math.max(end, assignment.lastIndex);
    }
  }

  /**
   * The line that holds `span.start`, ready to be printed: secrets masked, control characters replaced, long lines cut. `column` and `length`
   * say what to underline in `text`, in code points from 0.
   */
  shown(span: { start: number; end: number }): { text: string; column: number; length: number } {
    const line = this.#lineOf(span.start);
    const start = this.#lineStarts[line]!;
    const end = this.#lineEnd(line);
    const characters = Array.from(this.#masked(start, end));
    let column = countCodePoints(this.text.slice(start, Math.min(span.start, end)));
    let length = Math.max(1, countCodePoints(this.text.slice(span.start, Math.min(span.end, end))));
    if (characters.length <= SHOWN_CHARACTERS_MAX) {
      return { text: characters.join("").trimEnd(), column, length };
    }
    const from = Math.max(0, Math.min(column - 40, characters.length - SHOWN_CHARACTERS_MAX));
    const cut = characters.slice(from, from + SHOWN_CHARACTERS_MAX);
    const head = from > 0 ? "..." : "";
    const tail = from + SHOWN_CHARACTERS_MAX < characters.length ? "..." : "";
    column = column - from + head.length;
    length = Math.min(length, head.length + cut.length - column);
    return { text: head + cut.join("") + tail, column, length: Math.max(1, length) };
  }

  #masked(start: number, end: number): string {
    let shown = "";
    let offset = start;
    for (const character of this.text.slice(start, end)) {
      shown += this.#isSecret(offset) ? "*" : printable(character);
      offset += character.length;
    }
    return shown;
  }

  #isSecret(offset: number): boolean {
    return this.#secrets.some((range) => offset >= range.start && offset < range.end);
  }

  /** Index of the line, from 0. */
  #lineOf(offset: number): number {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lineStarts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Offset of the line's end, without its line feed and carriage return. */
  #lineEnd(line: number): number {
    const next = this.#lineStarts[line + 1];
    let end = next === undefined ? this.text.length : next - 1;
    if (end > this.#lineStarts[line]! && this.text.charCodeAt(end - 1) === 13) end--;
    return end;
  }
}

/** How many characters open or close a string that begins with this text: 3 for `"""`, 1 for `"`, 0 when it is none. */
export function quoteWidth(text: string): number {
  if (text.startsWith('"""') || text.startsWith("'''")) return 3;
  return text.startsWith('"') || text.startsWith("'") ? 1 : 0;
}

/** True when the text, quotes aside, is one reference to the environment and nothing else: it shows no value. */
export function isBareReference(text: string): boolean {
  return /^["']{0,3}\$\{[A-Za-z_][A-Za-z0-9_]*\}["']{0,3}$/u.test(text);
}

/** Puts a value from a file into a message: quoted, short, and without characters that steer a terminal. */
export function quote(value: string): string {
  const characters = Array.from(value);
  const cut = characters.length > 80 ? characters.slice(0, 77).join("") + "..." : value;
  return `"${Array.from(cut, (character) => character === "\t" ? "\\t" : printable(character)).join("")}"`;
}

function printable(character: string): string {
  return /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(character) && character !== "\t" ? "\uFFFD" : character;
}

function countCodePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
