import type { Chunk } from "../event/chunk.ts";
import type { Stream } from "../event/stream.ts";
import type { Fields } from "./json_fields.ts";
import type { FieldFilter } from "./fields.ts";
import { type TimestampFormat, timestampToken } from "./timestamp.ts";

/** The fields that every event of a chunk has besides its own, in the order in which they are written. */
export interface EventFields {
  /** timestamp, host, file (not for stdin), source_type and stream (of a command's output alone) as `JSON.stringify` takes them. */
  readonly values: Fields;
  /** The same as JSON: name and value, `"host":"a"`. */
  readonly members: readonly EventMember[];
}

export interface EventMember {
  readonly name: string;
  readonly json: string;
}

export interface EventFieldsOptions {
  readonly hostname: string;
  readonly timestampFormat: TimestampFormat;
}

/** Makes `EventFields`; remembers the last ones, because chunk follows chunk from the same stream. */
export class EventFieldsMaker {
  readonly #options: EventFieldsOptions;
  readonly #hostJson: string;
  #stream: Stream | null = null;
  #path = "";
  #receivedMs = NaN;
  #last: EventFields | null = null;

  constructor(options: EventFieldsOptions) {
    this.#options = options;
    this.#hostJson = JSON.stringify(options.hostname);
  }

  /** The fields for the events of this chunk; the same object again while stream, path and time stay the same. */
  of(chunk: Chunk): EventFields {
    const { stream, receivedMs } = chunk;
    if (
      this.#last !== null && this.#stream === stream && this.#path === stream.path &&
      this.#receivedMs === receivedMs
    ) {
      return this.#last;
    }
    this.#stream = stream;
    this.#path = stream.path;
    this.#receivedMs = receivedMs;
    return this.#last = this.#make(stream, receivedMs);
  }

  #make(stream: Stream, receivedMs: number): EventFields {
    const timestamp = timestampToken(receivedMs, this.#options.timestampFormat);
    const isText = timestamp.startsWith('"');
    const values: Fields = {
      timestamp: isText ? timestamp.slice(1, -1) : JSON.rawJSON(timestamp),
      host: this.#options.hostname,
    };
    const members: EventMember[] = [
      { name: "timestamp", json: `"timestamp":${timestamp}` },
      { name: "host", json: `"host":${this.#hostJson}` },
    ];
    if (stream.sourceType === "file") {
      values["file"] = stream.path;
      members.push({ name: "file", json: `"file":${JSON.stringify(stream.path)}` });
    }
    values["source_type"] = stream.sourceType;
    members.push({ name: "source_type", json: `"source_type":${JSON.stringify(stream.sourceType)}` });
    if (stream.pipe !== undefined) {
      values["stream"] = stream.pipe;
      members.push({ name: "stream", json: `"stream":"${stream.pipe}"` });
    }
    return { values, members };
  }
}

/**
 * The JSON of a text line: `head`, the escaped line, `tail`. Where the line itself is left out, `head` is null and `tail` is the whole
 * object.
 */
export interface Envelope {
  readonly head: Buffer | null;
  readonly tail: Buffer;
}

/** The envelope of a chunk's lines: message, timestamp, host, file, source_type, stream, less what the filter takes away. */
export function envelopeOf(fields: EventFields, filter: FieldFilter | null): Envelope {
  const members = fields.members.filter((member) => filter?.keeps(member.name) ?? true).map((member) =>
    member.json
  );
  if (filter !== null && !filter.keeps("message")) {
    return { head: null, tail: Buffer.from(`{${members.join()}}`) };
  }
  return { head: MESSAGE_HEAD, tail: Buffer.from(['"', ...members].join() + "}") };
}

const MESSAGE_HEAD = Buffer.from('{"message":"');
