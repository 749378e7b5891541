import { integer, milliseconds } from "./option.ts";

/** Options of the Kafka sink that say when an event is given up. Without them that is never the answer to an error that can pass. */
export const expiryOptions = {
  message_timeout_ms: milliseconds({
    default: 0,
    min: 0,
    max: 2_147_483_647,
    doc:
      "An event that is not delivered within this time, counted from when it was read, is dropped and counted under the reason " +
      "`message_timeout`, at most a tenth later; `0`: never. Events whose batch may have arrived stay until that is known. It " +
      "loses data in an outage that lasts longer: set it where late events are worth nothing.",
    example: "300000",
  }),
  "retry.max_attempts": integer({
    default: 0,
    min: 0,
    max: 1_000_000,
    unit: "attempts",
    doc:
      "A batch that a broker has refused so many times, with errors that can pass, is dropped and counted under the reason " +
      "`retries_exhausted`; `0`: it is tried again for ever. Only answers count that say that it was not written: a batch that " +
      "may have arrived stays until that is known, and a broker that cannot be reached refuses nothing (`message_timeout_ms` is for " +
      "that).",
    example: "10",
  }),
};
