/**
 * A log cannot be read to its end, and not because a tail is torn: bytes that were on the device are wrong or gone. To go on anyway would
 * forget what was written, so it is for a person to decide.
 */
export class LogDamagedError extends Error {
  override readonly name = "LogDamagedError";
  /** Path of the segment. */
  readonly file: string;
  /** Where in the file the damage starts. */
  readonly byte: number;
  /** A clause without a subject of its own: "the checksum of its header is wrong". */
  override readonly cause: string;

  constructor(file: string, byte: number, cause: string) {
    super(`Cannot read "${file}" from byte ${byte} on: ${cause}`);
    this.file = file;
    this.byte = byte;
    this.cause = cause;
  }
}

/** A log was written by a later version of the program. */
export class LogNewerError extends Error {
  override readonly name = "LogNewerError";
  readonly file: string;
  readonly version: number;

  constructor(file: string, version: number, known: number) {
    super(`Cannot read "${file}": it has format version ${version}, and this version reads up to ${known}`);
    this.file = file;
    this.version = version;
  }
}

/**
 * The process that owns the log took the segment away, or wrote to it, while this one read it (only a reader without the lock sees this). What was read so
 * far is worthless; reading again works.
 */
export class LogChangedError extends Error {
  override readonly name = "LogChangedError";
  readonly file: string;

  constructor(file: string) {
    super(`Cannot read "${file}": it was replaced meanwhile; reading the log again works`);
    this.file = file;
  }
}
