import { expect } from "bun:test";
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { decodeLetter } from "../../src/dead_letter/letter_json.ts";
import type { StoredLetter } from "../../src/event/dead_letters.ts";
import { OracleWriter } from "./oracle.ts";
import type { TempDir } from "./temp_dir.ts";

/** Lines of a run, and between them lines that no topic of these tests takes. */
export class MixedLog {
  readonly writer: OracleWriter;
  readonly path: string;
  readonly big: string[] = [];

  constructor(run: string, dir: TempDir) {
    this.writer = new OracleWriter(run, "a.log");
    this.path = dir.file(this.writer.file);
  }

  append(lineCount: number, bigCount: number): void {
    for (let i = 0; i < bigCount; i++) {
      this.writer.append(this.path, Math.floor(lineCount / (bigCount + 1)));
      const line = `big ${this.big.length} ${noise(`${this.writer.run} ${this.big.length}`)}`;
      this.big.push(line);
      appendFileSync(this.path, `${line}\n`);
    }
    this.writer.append(this.path, Math.ceil(lineCount / (bigCount + 1)));
  }
}

/** About 8 KB that cannot be compressed to less than 5. */
function noise(seed: string): string {
  const part = (i: number) => createHash("sha256").update(`${seed} ${i}`).digest("base64");
  return Array.from({ length: 180 }, (_, i) => part(i)).join("");
}

export function lettersIn(path: string): StoredLetter[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return lines.flatMap((line) => decodeLetter(line) ?? []);
}

/** Every one is there, where it stands in the file; repeats have the same id. Returns how many are there more than once. */
export function expectLetters(letters: readonly StoredLetter[], log: MixedLog, isBuffered = false): number {
  const text = readFileSync(log.path);
  const ids = new Map<string, string>();
  for (const { id, value, offset, stream, reason, sink } of letters) {
    expect([stream.source, stream.path, reason, sink]).toEqual(["in", log.path, "record_too_large", "out"]);
    // Of an event that a restart put into a disk buffer, with others left out in front of it, only the piece is known.
    const start = isBuffered ? text.indexOf(value, offset) : offset;
    expect(text.subarray(start, start + value.length).equals(value)).toBe(true);
    expect(ids.get(id) ?? String(value)).toBe(String(value));
    ids.set(id, String(value));
  }
  expect([...ids.values()].sort()).toEqual([...log.big].sort());
  return letters.length - ids.size;
}
