import fc from "fast-check";
import { type Fault } from "../storage/simulated_files.ts";
import { SINKS } from "./model_world.ts";

/** What applications, a sink, a cluster and a disk do. Places are indexes, taken modulo what there is. */
export type Action =
  | { readonly kind: "write"; readonly file: number; readonly lengths: readonly number[] }
  | { readonly kind: "read"; readonly file: number; readonly sink: number; readonly bytes: number }
  | { readonly kind: "take"; readonly sink: number }
  | { readonly kind: "seal"; readonly sink: number; readonly partition: number; readonly count: number }
  | { readonly kind: "commit" | "flush" | "close" | "new file" }
  | { readonly kind: "step"; readonly count: number }
  | { readonly kind: "send" | "acknowledge"; readonly sink: number; readonly place: number }
  | { readonly kind: "replace"; readonly sink: number; readonly place: number; readonly how: Replacement }
  | { readonly kind: "recover"; readonly sink: number; readonly isReplacing: boolean }
  | { readonly kind: "rotate" | "cut back"; readonly file: number; readonly place: number }
  | { readonly kind: "fault"; readonly fault: Fault; readonly inCalls: number }
  | { readonly kind: "crash"; readonly isPower: boolean; readonly inCalls: number };

export type Replacement = "split" | "renumber" | "reject first" | "reject all";

const sink = fc.nat(SINKS.length - 1);
const place = fc.nat(5);
const file = fc.nat(2);
const only = <K extends Action["kind"]>(kind: K) => fc.constant(kind);

/** Anything that may happen next. */
export const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: only("write"),
      file,
      lengths: fc.array(fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 8, max: 40 }) }, fc.nat(300)), {
        minLength: 1,
        maxLength: 8,
      }),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({ kind: only("read"), file, sink, bytes: fc.integer({ min: 1, max: 400 }) }),
  },
  { weight: 8, arbitrary: fc.record({ kind: only("take"), sink }) },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: only("seal"),
      sink,
      partition: fc.nat(2),
      count: fc.integer({ min: 1, max: 8 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ kind: only("commit") }) },
  { weight: 2, arbitrary: fc.record({ kind: only("flush") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("close" as const, "new file" as const) }) },
  { weight: 10, arbitrary: fc.record({ kind: only("step"), count: fc.integer({ min: 1, max: 6 }) }) },
  {
    weight: 16,
    arbitrary: fc.record({ kind: fc.constantFrom("send" as const, "acknowledge" as const), sink, place }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: only("replace"),
      sink,
      place,
      how: fc.constantFrom<Replacement>("split", "renumber", "reject first", "reject all"),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: only("recover"), sink, isReplacing: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("rotate" as const, "cut back" as const), file, place }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: only("fault"),
      fault: fc.constantFrom<Fault>("ENOSPC", "EIO", "EINTR", "short"),
      inCalls: fc.nat(12),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: only("crash"), isPower: fc.boolean(), inCalls: fc.nat(20) }) },
) as fc.Arbitrary<Action>;
