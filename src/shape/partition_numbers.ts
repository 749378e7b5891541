import { NO_PARTITION } from "../event/event_batch.ts";

/** The number of a partition in a field: a number, or digits; `NO_PARTITION` for anything else. */
export function partitionNumber(value: unknown): number {
  const number = typeof value === "string" && /^\d{1,10}$/u.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isInteger(number) && number >= 0 && number < NO_PARTITION
    ? number
    : NO_PARTITION;
}
