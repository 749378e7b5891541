import { randomFillSync } from "node:crypto";

/** Length of a UUID as text. */
export const UUID_CHARACTERS = 36;

const UUID_BYTES = 16;
/** Random bytes are fetched for so many at a time: a call of the system's generator for each would cost more than everything else. */
const UUIDS_AT_ONCE = 256;

const random = Buffer.alloc(UUIDS_AT_ONCE * UUID_BYTES);
let at = random.length;

/** Two digits of each byte, as characters. */
const DIGITS = Buffer.from(
  Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0")).join(""),
);
const HYPHEN = 45;
const scratch = Buffer.alloc(UUID_CHARACTERS);

/**
 * Writes a random UUID (RFC 9562, version 4) as 36 characters over `target[start ..]`, which must have room for it. Makes no object.
 */
export function writeRandomUuid(target: Buffer, start: number): void {
  if (at === random.length) {
    randomFillSync(random);
    at = 0;
  }
  random[at + 6] = (random[at + 6]! & 0x0f) | 0x40;
  random[at + 8] = (random[at + 8]! & 0x3f) | 0x80;
  let to = start;
  for (let i = 0; i < UUID_BYTES; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) target[to++] = HYPHEN;
    const byte = random[at + i]!;
    target[to++] = DIGITS[2 * byte]!;
    target[to++] = DIGITS[2 * byte + 1]!;
  }
  at += UUID_BYTES;
}

export function randomUuid(): string {
  writeRandomUuid(scratch, 0);
  return scratch.toString("latin1");
}
