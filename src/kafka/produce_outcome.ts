import { ErrorCode } from "./protocol/error_codes.ts";

/**
 * What to do after the broker's answer for a partition.
 *
 * - delivered: acknowledged, or recognised as a repeat of something acknowledged.
 * - split: the batch is too large; halves are tried, a single record is given up.
 * - take-out: single records are refused; the others are tried again.
 * - renumber: the broker has lost this producer's state, or never had it; same records, next epoch, sequence 0.
 * - retry: the same bytes and numbers again, after a back-off, with fresh metadata.
 */
export type ProduceOutcome = "delivered" | "split" | "take-out" | "renumber" | "retry";

/** Answers not listed are tried again for ever: giving up is never the answer to an error that nobody foresaw. */
export function outcomeOf(errorCode: number): ProduceOutcome {
  switch (errorCode) {
    case ErrorCode.NONE:
    case ErrorCode.DUPLICATE_SEQUENCE_NUMBER:
      return "delivered";
    case ErrorCode.MESSAGE_TOO_LARGE:
    case ErrorCode.RECORD_LIST_TOO_LARGE:
      return "split";
    case ErrorCode.INVALID_RECORD:
    case ErrorCode.INVALID_TIMESTAMP:
      return "take-out";
    case ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
    case ErrorCode.UNKNOWN_PRODUCER_ID:
    case ErrorCode.INVALID_PRODUCER_EPOCH:
    case ErrorCode.INVALID_PRODUCER_ID_MAPPING:
      return "renumber";
    default:
      return "retry";
  }
}
