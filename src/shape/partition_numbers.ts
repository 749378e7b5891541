import { NO_PARTITION } from "../event/event_batch.ts";

/** The number of a partition in a field: a number, however it is written, or digits; `NO_PARTITION` for anything else. */
export function partitionNumber(value: unknown): number {
  const isText = typeof value === "string" && /^\d{1,10}$/u.test(value);
  const number = isText ? Number(value) : JSON.isRawJSON(value) ? Number(value.rawJSON) : value;
  return typeof number === "number" && Number.isInteger(number) && number >= 0 && number < NO_PARTITION
    ? number
    : NO_PARTITION;
}
