import { createHash } from "node:crypto";
import {
  type DeadLetter,
  ID_CHARACTERS,
  letterFacts,
  type LetterHeader,
  letterId,
  type StoredLetter,
} from "../event/dead_letters.ts";
import { decodeHeaders, encodeHeaders, HEADERS_MAX, type RecordHeader } from "../event/record_headers.ts";

/** In front of the names of the headers that a dead letter gets; the event's own headers stand behind them, as they are. */
const PREFIX = "shipper.";
/** The event's headers in one, encoded as in a record, where all together would be too many. */
const PACKED = `${PREFIX}headers`;
/** Of the texts in headers: an error's text, or a path, is cut here. */
const TEXT_BYTES_MAX = 8_192;

/** A record of a topic of dead letters. */
export interface LetterRecord {
  /** The id, so that repeats and parts are in one partition. */
  readonly key: Buffer;
  readonly headers: Buffer;
  readonly value: Buffer;
}

/**
 * A dead letter as records: the event's value, and all that is known of it as headers. A value that is larger than `valueBytesMax` is in several, each
 * of which has all headers, "shipper.part" = "2/5", and the byte of the value that it starts at: a restart may cut the same value elsewhere.
 *
 *     shipper.id        see letterId
 *     shipper.time      when it became a dead letter, RFC 3339
 *     shipper.reason, .error, .sink, .topic (absent: none), .source, .file (absent: stdin), .stream, .offset
 *     shipper.key       the event's key (absent: none)
 *     shipper.part      of several records; shipper.part_offset: in bytes; shipper.checksum: sha256 of the whole value
 */
export function letterRecords(letter: DeadLetter, valueBytesMax: number): LetterRecord[] {
  const { value } = letter;
  const id = letterId(letter);
  const partCount = Math.max(1, Math.ceil(value.length / valueBytesMax));
  const records: LetterRecord[] = [];
  for (let part = 0; part < partCount; part++) {
    const parts: RecordHeader[] = partCount === 1 ? [] : [
      [`${PREFIX}part`, `${part + 1}/${partCount}`],
      [`${PREFIX}part_offset`, String(part * valueBytesMax)],
      [`${PREFIX}checksum`, createHash("sha256").update(value).digest("hex")],
    ];
    records.push({
      key: Buffer.from(id),
      headers: headersOf(letter, id, parts),
      value: value.subarray(part * valueBytesMax, (part + 1) * valueBytesMax),
    });
  }
  return records;
}

/** Bytes that a record takes beside its value, at most. */
export function letterOverheadBytes(letter: DeadLetter): number {
  const FRAME_BYTES = 61 + 64;
  return FRAME_BYTES + 2 * ID_CHARACTERS + headersOf(letter, "", []).length + 200;
}

function headersOf(letter: DeadLetter, id: string, more: readonly RecordHeader[]): Buffer {
  const { reason, error, stream, offset, timeMs, sink, topic, key, headers } = letter;
  const texts: (readonly [string, string | null])[] = [
    ["id", id],
    ["time", new Date(timeMs).toISOString()],
    ["reason", reason],
    ["error", error],
    ["sink", sink],
    ["topic", topic],
    ["source", stream.source],
    ["file", stream.path === "" ? null : stream.path],
    ["stream", stream.id],
    ["offset", String(offset)],
  ];
  const own: RecordHeader[] = texts.flatMap(([name, text]) =>
    text === null ? [] : [[`${PREFIX}${name}`, Buffer.from(text).subarray(0, TEXT_BYTES_MAX)] as const]
  );
  if (key !== null) own.push([`${PREFIX}key`, key]);
  own.push(...more);
  // Names like ours, of an event that was a dead letter before, would be taken for ours.
  const isClear = headers.every(([name]) => !name.startsWith(PREFIX));
  return isClear && own.length + headers.length <= HEADERS_MAX
    ? encodeHeaders([...own, ...headers])
    : encodeHeaders([...own, [PACKED, encodeHeaders(headers)]]);
}

/** A part of a letter, as it was read. */
export interface LetterPart {
  readonly letter: StoredLetter;
  /** From 0. */
  readonly part: number;
  readonly partCount: number;
  /** Bytes of all parts but the last, which may have less. */
  readonly partBytes: number;
  /** Of the whole value; "" where there is one part alone. */
  readonly checksum: string;
}

/** Of a record that was read: null where it is none that this version writes. `headers` are the record's, in order. */
export function readLetterRecord(headers: readonly LetterHeader[], value: Buffer): LetterPart | null {
  const own = new Map<string, Buffer>();
  const others: LetterHeader[] = [];
  for (const [name, bytes] of headers) {
    if (name.startsWith(PREFIX)) own.set(name.slice(PREFIX.length), bytes);
    else others.push([name, bytes]);
  }
  const text = (name: string) => own.get(name)?.toString() ?? null;
  const offset = Number(text("offset") ?? NaN);
  const part = /^(\d{1,9})\/(\d{1,9})$/u.exec(text("part") ?? "1/1");
  const facts = letterFacts(text, offset);
  if (facts === null || !Number.isSafeInteger(offset) || part === null) return null;
  const index = Number(part[1]) - 1;
  const partOffset = Number(text("part_offset") ?? 0);
  const packed = own.get("headers");
  return {
    letter: {
      ...facts,
      key: own.get("key") ?? null,
      headers: packed === undefined ? others : decodeHeaders(packed),
      value,
    },
    part: index,
    partCount: Number(part[2]),
    partBytes: index === 0 ? value.length : partOffset / index,
    checksum: text("checksum") ?? "",
  };
}
