import fc from "fast-check";
import type { Durability } from "../../src/storage/log_options.ts";
import type { Fault } from "../storage/simulated_files.ts";
import { PARTITIONS } from "./model_life.ts";

/** What applications, a sink, a cluster and two disks do. Places are indexes, taken modulo what there is. */
export type Action =
  | { readonly do: "append"; readonly file: number; readonly lengths: readonly number[] }
  | { readonly do: "append many"; readonly file: number; readonly count: number }
  | { readonly do: "read"; readonly file: number; readonly bytes: number }
  | { readonly do: "pipe"; readonly lengths: readonly number[] }
  | { readonly do: "take" | "commit" | "flush" | "new file" | "wait" | "stop" }
  | { readonly do: "seal"; readonly partition: number; readonly count: number }
  | { readonly do: "send" | "acknowledge"; readonly place: number }
  | { readonly do: "recover" }
  | { readonly do: "step"; readonly buffer: number; readonly journal: number }
  | {
    readonly do: "fault";
    readonly disk: "buffer" | "journal";
    readonly fault: Fault;
    readonly inCalls: number;
  }
  | { readonly do: "full"; readonly isFull: boolean }
  | { readonly do: "cut back"; readonly file: number; readonly place: number }
  | { readonly do: "crash"; readonly isPower: boolean; readonly inCalls: number };

export interface Case {
  readonly durability: Durability;
  readonly whenFull: "block" | "drop_newest" | "drop_oldest";
  readonly isExact: boolean;
  readonly seed: number;
  readonly actions: readonly Action[];
}

const only = <K extends Action["do"]>(kind: K) => fc.constant(kind);
const lengths = fc.array(fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 8, max: 40 }) }, fc.nat(300)), {
  minLength: 1,
  maxLength: 8,
});
const place = fc.nat(5);
const file = fc.nat(3);

/** Anything that may happen next. */
export const action = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: only("append"), file, lengths }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: only("append many"), file, count: fc.integer({ min: 50, max: 900 }) }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      do: only("read"),
      file,
      bytes: fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1_000, max: 60_000 })),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: only("pipe"), lengths }) },
  { weight: 8, arbitrary: fc.record({ do: only("take") }) },
  {
    weight: 10,
    arbitrary: fc.record({
      do: only("seal"),
      partition: fc.nat(PARTITIONS - 1),
      count: fc.integer({ min: 1, max: 400 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: only("commit") }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("flush" as const, "wait" as const) }) },
  { weight: 14, arbitrary: fc.record({ do: only("step"), buffer: fc.nat(6), journal: fc.nat(6) }) },
  {
    weight: 16,
    arbitrary: fc.record({ do: fc.constantFrom("send" as const, "acknowledge" as const), place }),
  },
  { weight: 4, arbitrary: fc.record({ do: only("recover") }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("new file" as const, "stop" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: only("fault"),
      disk: fc.constantFrom("buffer" as const, "journal" as const),
      fault: fc.constantFrom<Fault>("ENOSPC", "EIO", "EINTR", "short"),
      inCalls: fc.nat(12),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: only("full"), isFull: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: only("cut back"), file, place }) },
  { weight: 3, arbitrary: fc.record({ do: only("crash"), isPower: fc.boolean(), inCalls: fc.nat(20) }) },
) as fc.Arbitrary<Action>;
