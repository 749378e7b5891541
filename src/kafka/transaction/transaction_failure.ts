import { KafkaError, RequestError } from "../errors.ts";
import { certaintyOf } from "../produce_outcome.ts";
import { ErrorCode } from "../protocol/error_codes.ts";

/**
 * Why a transaction is not committed.
 *
 * - refused: a batch has to be split, or records of it be given up.
 * - fenced: the brokers know a newer epoch.
 * - unknown: everything else.
 */
export interface TransactionFailure {
  readonly kind: "refused" | "fenced" | "unknown";
  /** A sentence without a period. */
  readonly message: string;
  readonly hint: string | null;
}

/** The coordinator is ending the transaction, or has, without having been asked by this process: another one has begun, or it took too long. */
const ENDED_BY_OTHERS: readonly number[] = [
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.INVALID_TXN_STATE,
];

/** What an error of a request says of the transaction that it belongs to. */
export function failureOf(error: unknown): TransactionFailure {
  const message = error instanceof Error ? error.message : String(error);
  const isFenced = error instanceof RequestError && error.errorCode !== null &&
    (certaintyOf(error.errorCode) === "fenced" || ENDED_BY_OTHERS.includes(error.errorCode));
  const hint = error instanceof KafkaError ? error.hint : null;
  return { kind: isFenced ? "fenced" : "unknown", message, hint };
}
