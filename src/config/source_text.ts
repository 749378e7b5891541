import { editDistance } from "./suggest.ts";

/**
 * The text of one configuration file with what diagnostics need from it: line and column of an offset, a line
 * to show, and the ranges that hold secrets. Offsets are UTF-16 indexes into `text`; lines and columns start
 * at 1, columns count code points.
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

  /**
   * Masks what looks like a secret in a text that could not be parsed, where no option is known by its
   * position: the values of lines that have a telling word or one near it, and what looks like a key's text.
   */
  maskLikelySecrets(): void {
    let inKey = false;
    for (let line = 0; line < this.#lineStarts.length; line++) {
      const start = this.#lineStarts[line]!;
      const text = this.text.slice(start, this.#lineEnd(line));
      inKey ||= text.includes("PRIVATE KEY-----");
      if (inKey || /^\s*[A-Za-z0-9+/=]{32,}\s*$/u.test(text)) {
        this.maskSecret(start, start + text.length);
      } else if (mayHoldSecret(text)) {
        this.#maskValue(start, text);
      }
      if (text.includes("END ") && text.includes("PRIVATE KEY-----")) inKey = false;
    }
  }

  /**
   * Masks a line from its equals sign or first quote on, and the lines of a long string that begins there.
   */
  #maskValue(start: number, text: string): void {
    const sign = /[="']/u.exec(text)?.index ?? text.search(/\s\S*$/u);
    if (sign === -1) return;
    const value = sign + /^[=\s]*/u.exec(text.slice(sign))![0].length;
    if (isBareReference(text.slice(value).trim())) return;
    const width = quoteWidth(text.slice(value));
    let end = start + text.length;
    if (width === 3) {
      const close = this.text.indexOf(text.slice(value, value + 3), start + value + 3);
      end = close === -1 ? this.text.length : close;
    }
    this.maskSecret(start + value + width, end);
  }

  /**
   * The line that holds `span.start`, ready to be printed: secrets masked, control characters replaced, long
   * lines cut. `column` and `length` say what to underline in `text`, in code points from 0.
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

/**
 * How many characters open or close a string that begins with this text: 3 for `"""`, 1 for `"`, 0 when it is
 * none.
 */
export function quoteWidth(text: string): number {
  if (text.startsWith('"""') || text.startsWith("'''")) return 3;
  return text.startsWith('"') || text.startsWith("'") ? 1 : 0;
}

/** True for a key whose value is better not shown, whatever it is: a misspelt password is a password. */
export function looksSecret(key: string): boolean {
  if (/pass|pwd|secret|token|credential|jaas|private/iu.test(key)) return true;
  const last = key.slice(key.lastIndexOf(".") + 1).toLowerCase();
  return ["password", "passphrase", "key_pass", "secret"].some((each) => editDistance(last, each, 3) < 3);
}

/** A key and its equals sign at the beginning of a line. */
const ASSIGNMENT = /^\s*(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*\s*=/u;

/**
 * True when a line has a secret's key in it, or a key that a typing error made unreadable: it may have been
 * one.
 */
function mayHoldSecret(line: string): boolean {
  const words: readonly string[] = line.match(/[A-Za-z_]+/gu) ?? [];
  if (words.some(looksSecret) || words.includes("sasl") || words.includes("tls")) return true;
  return !ASSIGNMENT.test(line) && !/^\s*(?:["'[\]{},#]|$)/u.test(line);
}

/**
 * True when the text, quotes aside, is one reference to the environment and nothing else: it shows no value.
 */
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
