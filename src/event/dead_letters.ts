import { createHash } from "node:crypto";
import type { Stream } from "./stream.ts";

/** A record header: the value may be any bytes. */
export type LetterHeader = readonly [name: string, value: Buffer];

/** An event that its sink will never take, with what is known of it. */
export interface DeadLetter {
  /** The reason of the drop that it is instead of: "record_too_large", "invalid_record", ... */
  readonly reason: string;
  /** What went wrong, as a clause: who refused it, and why. */
  readonly error: string;
  readonly stream: Pick<Stream, "id" | "source" | "path">;
  /** Where the event starts in its stream, bytes. With the stream it names the event, over restarts too. */
  readonly offset: number;
  /** When it was found to be one, milliseconds since the epoch. */
  readonly timeMs: number;
  /** The sink that it was for. */
  readonly sink: string;
  /** The topic that it was for; null where none could be named. */
  readonly topic: string | null;
  readonly key: Buffer | null;
  readonly headers: readonly LetterHeader[];
  /** The record's value as it was to be sent; the line as it was read where it became no record. */
  readonly value: Buffer;
}

/** Characters of an id. */
export const ID_CHARACTERS = 16;

/** A dead letter as it was stored. */
export interface StoredLetter extends DeadLetter {
  /** The same for the same event and sink, however often it was stored. */
  readonly id: string;
}

/**
 * What both forms of a stored letter hold as texts, the file's and the topic's. `text` gives one by its name, null where there is none. Null: it is no
 * letter.
 */
export function letterFacts(
  text: (name: string) => string | null,
  offset: number,
): Omit<StoredLetter, "key" | "headers" | "value"> | null {
  const [id, sink, reason] = [text("id"), text("sink"), text("reason")];
  const [source, stream] = [text("source"), text("stream")];
  const timeMs = Date.parse(text("time") ?? "");
  if (!id || !sink || !reason || source === null || stream === null || Number.isNaN(timeMs)) return null;
  return {
    id,
    reason,
    error: text("error") ?? "",
    stream: { id: stream, source, path: text("file") ?? "" },
    offset,
    timeMs,
    sink,
    topic: text("topic"),
  };
}

/**
 * Names the event by where it stands, what it is and for whom it was: what a crash repeats gets the same name, and what a cut file holds later in the same
 * place another one.
 */
export function letterId(
  { sink, stream, offset, value }: Pick<DeadLetter, "sink" | "stream" | "offset" | "value">,
): string {
  const hash = createHash("sha256").update(
    `${sink}\u0000${stream.source}\u0000${stream.id}\u0000${offset}\u0000`,
  );
  return hash.update(value).digest("hex").slice(0, ID_CHARACTERS);
}

/** Where dead letters are kept. */
export interface DeadLetters {
  /**
   * Has the letter kept, and calls back once that is certain: on the disk, or acknowledged by Kafka. Tries until it works; after the end of the run
   * nothing is called back any more. The letter's bytes must not change until then. Does not block: the caller holds the event back meanwhile.
   */
  put(letter: DeadLetter, onSafe: () => void): void;
}

/** In front of a reason in an account of drops: the event is not gone, it is a dead letter. */
const DEAD_LETTER_MARK = "dead_letter:";

/** How a dead letter is named among the drops of an account, which stores reasons as words. */
export function deadLetterReason(reason: string): string {
  return `${DEAD_LETTER_MARK}${reason}`;
}

/** Whether a reason of an account stands for dead letters. */
export function isDeadLetterReason(reason: string): boolean {
  return reason.startsWith(DEAD_LETTER_MARK);
}

/** Splits counts of drops by reason: what is gone, and what became a dead letter, by the plain reason. */
export function splitDropped(
  counts: Iterable<readonly [reason: string, count: number]>,
): { readonly dropped: Record<string, number>; readonly deadLettered: Record<string, number> } {
  const dropped: Record<string, number> = {};
  const deadLettered: Record<string, number> = {};
  for (const [reason, count] of counts) {
    if (isDeadLetterReason(reason)) deadLettered[reason.slice(DEAD_LETTER_MARK.length)] = count;
    else dropped[reason] = count;
  }
  return { dropped, deadLettered };
}
