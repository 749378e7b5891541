import type { BrokerConnection } from "../broker_connection.ts";
import { RequestError } from "../errors.ts";
import { apiName } from "../protocol/api_keys.ts";
import { ProtocolError } from "../protocol/wire.ts";

/** A request with the reader of its answer. */
export interface Question<T extends { readonly throttleMs: number }> {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly body: readonly Buffer[];
  readonly decode: (payload: Buffer) => T;
}

/** Sends a request and reads its answer. Rejects with RequestError; after an answer that can't be read the connection is closed. */
export async function askBroker<T extends { readonly throttleMs: number }>(
  connection: BrokerConnection,
  question: Question<T>,
  timeoutMs: number,
): Promise<T> {
  const { apiKey, apiVersion, body, decode } = question;
  const payload = await connection.request(apiKey, apiVersion, body, { timeoutMs });
  let answer: T;
  try {
    answer = decode(payload);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    connection.close();
    throw unusable(connection, apiKey, error.message, error);
  }
  connection.throttle(answer.throttleMs);
  return answer;
}

/** An answer that cannot be: the wrong partition, or none. */
export function unusable(
  connection: BrokerConnection,
  apiKey: number,
  why: string,
  cause?: Error,
): RequestError {
  const message = `Broker "${connection.broker}" gave an unusable answer to ${apiName(apiKey)}: ${why}`;
  return new RequestError("bad-answer", message, {
    broker: connection.broker,
    ...(cause === undefined ? {} : { cause }),
  });
}
