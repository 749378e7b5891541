/**
 * Places where a test lets the process die, as kill -9 would, between two steps that have to be safe in this order. In a normal build
 * nothing arms them, and they do nothing.
 */
export const CRASH_POINTS = [
  "after_intent_write",
  "after_intent_fsync",
  "after_send",
  "after_partial_send",
  "after_ack",
  "before_ack_frame",
  "mid_checkpoint",
  "during_resolve",
  "after_resend",
  "before_replace",
  "after_replace",
  "before_unlink",
  "after_unlink",
  "before_buffer_commit",
  "after_buffer_commit",
  "before_buffer_release",
  "mid_rescue",
  // Delivery in transactions, in the order of its steps (src/kafka/transaction/transaction_session.ts).
  "txn_after_init",
  "txn_after_positions_read",
  "txn_before_positions",
  "txn_after_positions",
  "txn_after_commit_send",
  "txn_after_commit",
] as const;

export type CrashPointName = (typeof CRASH_POINTS)[number];

/** A point, and at which passing of it: "after_ack" (the first) or "after_ack:3". */
export type CrashPointSpec = CrashPointName | `${CrashPointName}:${number}`;

interface ArmedPoint {
  readonly name: CrashPointName;
  /** Passings that are left; 1: dies at the next. */
  leftCount: number;
}

let armed: ArmedPoint | null = null;

/**
 * In a test build: kills this process by SIGKILL when it is the point, and the passing, that SHIPPER_CRASH_AT names. Nothing after the
 * call runs then, on any thread. Main thread only: a Worker has variables of its own, and nobody arms them.
 */
export function crashPoint(name: CrashPointName): void {
  if (armed !== null && armed.name === name && --armed.leftCount === 0) die();
}

/** Called by main.ts of a test build alone. Throws when the variable is set and names no point. */
export function armCrashPoints(env: Readonly<Record<string, string | undefined>>): void {
  const spec = env["SHIPPER_CRASH_AT"];
  armed = spec === undefined || spec === "" ? null : parseSpec(spec);
}

function parseSpec(spec: string): ArmedPoint {
  const match = /^([a-z_]+)(?::([1-9][0-9]{0,8}))?$/u.exec(spec);
  const name = CRASH_POINTS.find((each) => each === match?.[1]);
  if (name === undefined) {
    throw new Error(
      `Cannot read SHIPPER_CRASH_AT: "${spec}" is not NAME or NAME:N with a name of ${
        CRASH_POINTS.join(", ")
      }`,
    );
  }
  return { name, leftCount: Number(match![2] ?? 1) };
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal has come before kill(2) returns; should a system be slower, nothing may happen meanwhile.
  for (;;);
}
