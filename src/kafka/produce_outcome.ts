import { ErrorCode } from "./protocol/error_codes.ts";

/**
 * What to do after the broker's answer for a partition.
 *
 * - delivered: acknowledged, or recognised as a repeat of something acknowledged.
 * - split: the batch is too large; halves are tried, a single record is given up.
 * - take-out: single records are refused; the others are tried again.
 * - redate: the time of the records is refused, which is that of sending and nobody's but ours; same records, another time.
 * - renumber: the broker has lost this producer's state, or never had it; same records, next epoch, sequence 0.
 * - retry: the same bytes and numbers again, after a back-off, with fresh metadata.
 */
export type ProduceOutcome = "delivered" | "split" | "take-out" | "redate" | "renumber" | "retry";

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
      return "take-out";
    case ErrorCode.INVALID_TIMESTAMP:
      return "redate";
    case ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
    case ErrorCode.UNKNOWN_PRODUCER_ID:
    case ErrorCode.INVALID_PRODUCER_EPOCH:
    case ErrorCode.INVALID_PRODUCER_ID_MAPPING:
      return "renumber";
    default:
      return "retry";
  }
}

/**
 * What an error says of the batch, under exactly-once delivery:
 *
 * - not-written: the broker looked at the batch and did not append it. (Earlier attempts may have been: a lowered limit refuses a batch
 *   that is in the log, because the size is looked at before repeats are.)
 * - numbers-refused: its sequence does not follow what the broker knows; it may be in the log all the same.
 * - fenced: the broker knows a newer epoch of the producer id.
 * - unknown: may come after an append.
 */
export type Certainty = "not-written" | "numbers-refused" | "fenced" | "unknown";

/** Errors that are not listed say nothing. */
export function certaintyOf(errorCode: number): Certainty {
  switch (errorCode) {
    case ErrorCode.CORRUPT_MESSAGE:
    case ErrorCode.MESSAGE_TOO_LARGE:
    // Looked at before anything is appended; what comes afterwards is NOT_ENOUGH_REPLICAS_AFTER_APPEND (Kafka's Partition.appendRecordsToLeader).
    case ErrorCode.NOT_ENOUGH_REPLICAS:
    case ErrorCode.INVALID_TOPIC_EXCEPTION:
    case ErrorCode.RECORD_LIST_TOO_LARGE:
    case ErrorCode.TOPIC_AUTHORIZATION_FAILED:
    case ErrorCode.INVALID_TIMESTAMP:
    case ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case ErrorCode.POLICY_VIOLATION:
    case ErrorCode.UNSUPPORTED_COMPRESSION_TYPE:
    case ErrorCode.INVALID_RECORD:
      return "not-written";
    case ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
    case ErrorCode.UNKNOWN_PRODUCER_ID:
    case ErrorCode.INVALID_PRODUCER_ID_MAPPING:
      return "numbers-refused";
    case ErrorCode.INVALID_PRODUCER_EPOCH:
    case ErrorCode.PRODUCER_FENCED:
      return "fenced";
    default:
      return "unknown";
  }
}
