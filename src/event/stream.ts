/**
 * The `source` under which the journal knows the disk buffers of sinks, which are streams too: their offsets are numbers of events. No source of a
 * configuration can have this name.
 */
export const BUFFER_SOURCE = "(disk buffer)";

/** The `source` of the records that tell of drops and losses. No source of a configuration can have this name either. */
export const GAP_MARKER_SOURCE = "(gap markers)";

/**
 * A stream is anything whose bytes can be read again by offset: one generation of a log file, or one run of stdin.
 * It is an identity, not a path: a renamed file stays the same stream, a new file under an old path is another one.
 *
 * One object a stream, shared by every batch that came from it, so that nothing is allocated per event.
 */
export interface Stream {
  /** Stable over restarts for files ("dev:ino:birthtime"), unique per run for a pipe on stdin. Key of the stored position. */
  readonly id: string;
  /** Name of the source in the configuration, for example "app" of `[sources.app]`. */
  readonly source: string;
  /** `source_type` field of its events: "file" or "stdin". */
  readonly sourceType: "file" | "stdin";
  /** Where the bytes were first seen, for messages and the `file` field; "" for stdin, also where a file is on it. A rename does not change it. */
  readonly path: string;
  /** Which output of a command it is, under `shipper exec`: the field `stream` of its events. */
  readonly pipe?: "stdout" | "stderr";
}

/** The stream of stored bytes: those of a file on stdin have no path. */
export function fileStream(id: string, source: string, path: string): Stream {
  return { id, source, sourceType: path === "" ? "stdin" : "file", path };
}
