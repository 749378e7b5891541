import { errorInfo } from "./protocol/error_codes.ts";

/** What went wrong between this process and a broker, worded for operators. Never holds a secret. */
export class KafkaError extends Error {
  /** ECONNREFUSED, ENOTFOUND, a TLS code, "timeout", "closed", "sasl-refused", ..., or the name of a broker's error. */
  readonly code: string;
  /** What to change; null when there is nothing to say. */
  readonly hint: string | null;
  /** "host:port" of the broker that it concerns; null when it concerns none. */
  readonly broker: string | null;

  constructor(code: string, message: string, details: KafkaErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint ?? null;
    this.broker = details.broker ?? null;
  }
}

export interface KafkaErrorDetails {
  readonly hint?: string | null;
  readonly broker?: string | null;
  readonly cause?: unknown;
}

/** No usable connection came about: name resolution, TCP, TLS, the first exchange or authentication failed. */
export class ConnectError extends KafkaError {
  override readonly name = "ConnectError";
}

/** An open connection gave no usable answer to a request, or a broker refused it. */
export class RequestError extends KafkaError {
  override readonly name = "RequestError";
  /** Kafka's error code when a broker answered with one; null when no answer came. */
  readonly errorCode: number | null;

  constructor(
    code: string,
    message: string,
    details: KafkaErrorDetails & { readonly errorCode?: number } = {},
  ) {
    super(code, message, details);
    this.errorCode = details.errorCode ?? null;
  }
}

/** A broker's refusal, `what` being the action in words: 'create topic "logs"'. */
export function brokerRefusal(
  errorCode: number,
  what: string,
  broker: string,
  detail: string | null,
): RequestError {
  const info = errorInfo(errorCode);
  const said = detail === null || detail === "" ? "" : `: ${detail}`;
  return new RequestError(info.name, `Cannot ${what}: broker ${broker} answered ${info.name}${said}`, {
    errorCode,
    broker,
    hint: info.hint,
  });
}
