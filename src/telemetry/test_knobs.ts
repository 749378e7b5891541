/**
 * What a test build can be told by its environment, for states that are out of reach otherwise. In a normal build nothing sets them, and
 * the accessors give what is usual.
 */

/** An operation on a file that is to fail. */
export interface FileFault {
  readonly op: "write" | "sync" | "read" | "open" | "unlink";
  /** Of the file, as the operation names it. */
  readonly path: RegExp;
  /** The errno name of the failure: "ENOSPC", "EIO". */
  readonly error: string;
  /** The first call that fails, counted from 1 over those with this `op` and a `path` that matches. */
  readonly from: number;
  /** How many fail, one after the other. */
  readonly count: number;
}

export type FileFaults = readonly FileFault[];

/** Sequence numbers of Kafka are 0 to this, and then 0 again. */
const SEQUENCE_MAX = 2 ** 31 - 1;
const FAULT_OPS: readonly string[] = ["write", "sync", "read", "open", "unlink"];

let sequence = 0;
let faults: FileFaults | null = null;
let recheck: number | null = null;

/** The sequence number of a producer's first batch in a partition: 0, or what SHIPPER_TEST_FIRST_SEQUENCE says, for the wrap at 2^31. */
export function firstSequence(): number {
  return sequence;
}

/** How long a finding that asks for new numbers is doubted, milliseconds: what SHIPPER_TEST_RECHECK_MS says; null: as usual. */
export function recheckMs(): number | null {
  return recheck;
}

/** What SHIPPER_TEST_FILE_FAULTS says; null when no operation is to fail. */
export function fileFaults(): FileFaults | null {
  return faults;
}

/**
 * Called by main.ts of a test build alone. Throws when a variable is set and cannot be read:
 *
 *     SHIPPER_TEST_FIRST_SEQUENCE=2147483600
 *     SHIPPER_TEST_RECHECK_MS=500
 *     SHIPPER_TEST_FILE_FAULTS=[{"op": "sync", "path": "journal", "error": "EIO", "from": 3, "count": 1}]
 */
export function armTestKnobs(env: Readonly<Record<string, string | undefined>>): void {
  sequence = parseSequence(env["SHIPPER_TEST_FIRST_SEQUENCE"] ?? "0");
  recheck = parseRecheck(env["SHIPPER_TEST_RECHECK_MS"]);
  const text = env["SHIPPER_TEST_FILE_FAULTS"];
  faults = text === undefined ? null : parseFaults(text);
}

function parseSequence(text: string): number {
  const value = /^[0-9]{1,10}$/u.test(text) ? Number(text) : NaN;
  if (value <= SEQUENCE_MAX) return value;
  throw new Error(`Cannot read SHIPPER_TEST_FIRST_SEQUENCE: expected 0 to ${SEQUENCE_MAX}, found "${text}"`);
}

function parseRecheck(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^[0-9]{1,7}$/u.test(text)) return Number(text);
  throw new Error(`Cannot read SHIPPER_TEST_RECHECK_MS: expected milliseconds, found "${text}"`);
}

function parseFaults(text: string): FileFaults {
  try {
    const list: unknown = JSON.parse(text);
    if (!Array.isArray(list)) throw new Error("it is not a list");
    return list.map(parseFault);
  } catch (error) {
    throw new Error(`Cannot read SHIPPER_TEST_FILE_FAULTS: ${(error as Error).message}`);
  }
}

function parseFault(item: unknown, index: number): FileFault {
  const { op, path, error, from, count, ...rest } = Object(item) as Record<string, unknown>;
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1;
  const wrong = Object.keys(rest)[0] ??
    (!FAULT_OPS.includes(op as string)
      ? "op"
      : typeof path !== "string"
      ? "path"
      : typeof error !== "string" || !/^E[A-Z0-9]+$/u.test(error)
      ? "error"
      : !isCount(from)
      ? "from"
      : !isCount(count)
      ? "count"
      : null);
  if (wrong !== null) throw new Error(`"${wrong}" of fault ${index + 1} is not what it has to be`);
  return { op, path: new RegExp(path as string, "u"), error, from, count } as FileFault;
}
