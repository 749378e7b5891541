import fs from "node:fs";
import type { StoredLetter } from "../event/dead_letters.ts";
import { decodeLetter } from "./letter_json.ts";

const CHUNK_BYTES = 1_048_576;

/** What is in a file of dead letters, line by line, up to its last newline: letters, and lines that are none (with their number, from 1). */
export type FoundLine = { readonly letter: StoredLetter } | { readonly badLine: number };

/** Reads a file of dead letters; throws the system's error. Works while a shipper appends to it. Memory: a chunk, and the longest line. */
export function* readLetterFile(path: string): Generator<FoundLine> {
  const fd = fs.openSync(path, "r");
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let parts: Buffer[] = [];
    let number = 1;
    for (;;) {
      const length = fs.readSync(fd, chunk, 0, CHUNK_BYTES, null);
      if (length === 0) return;
      let start = 0;
      for (let end = chunk.indexOf(0x0a); end >= 0 && end < length; end = chunk.indexOf(0x0a, start)) {
        const letter = decodeLetter(Buffer.concat([...parts, chunk.subarray(start, end)]).toString());
        parts = [];
        start = end + 1;
        yield letter === null ? { badLine: number } : { letter };
        number++;
      }
      // The chunk is read into again.
      if (start < length) parts.push(Buffer.from(chunk.subarray(start, length)));
    }
  } finally {
    fs.closeSync(fd);
  }
}
