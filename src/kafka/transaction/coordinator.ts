import { crashPoint } from "../../telemetry/crash_point.ts";
import type { BrokerConnection } from "../broker_connection.ts";
import type { ProduceTransaction } from "../broker_sender.ts";
import type { Cluster } from "../cluster.ts";
import { brokerRefusal, RequestError } from "../errors.ts";
import type { ProducerIdentity } from "../partition_sender.ts";
import {
  ADD_PARTITIONS_TO_TXN_VERSION_MAX,
  ADD_PARTITIONS_TO_TXN_VERSION_MIN,
  decodeAddPartitionsToTxnResponse,
  encodeAddPartitionsToTxn,
  type TransactionPartition,
} from "../protocol/add_partitions_to_txn.ts";
import { ApiKey } from "../protocol/api_keys.ts";
import {
  decodeDescribeTransactionsResponse,
  DESCRIBE_TRANSACTIONS_VERSION,
  encodeDescribeTransactions,
  type TransactionDescription,
} from "../protocol/describe_transactions.ts";
import {
  decodeEndTxnResponse,
  encodeEndTxn,
  END_TXN_VERSION_MAX_TV1,
  END_TXN_VERSION_MIN,
  END_TXN_VERSION_TV2,
} from "../protocol/end_txn.ts";
import { ErrorCode } from "../protocol/error_codes.ts";
import {
  decodeFindCoordinatorResponse,
  encodeFindTransactionCoordinator,
  FIND_COORDINATOR_VERSION_MAX,
  FIND_COORDINATOR_VERSION_MIN,
} from "../protocol/find_coordinator.ts";
import {
  decodeInitProducerIdResponse,
  encodeInitProducerId,
  INIT_PRODUCER_ID_VERSION_MAX,
  INIT_PRODUCER_ID_VERSION_MIN,
} from "../protocol/init_producer_id.ts";
import { PRODUCE_VERSION_MAX_TV1, PRODUCE_VERSION_MIN, PRODUCE_VERSION_TV2 } from "../protocol/produce.ts";
import { askBroker, type Question, unusable } from "../resolve/ask_broker.ts";

/** A producer with a transactional id, between InitProducerId and the one that fences it. */
export interface TransactionIdentity extends ProducerIdentity {
  /** The int64 as 8 bytes, big endian. */
  readonly producerId: Buffer;
  /** transaction.version 2 (KIP-890): every transaction has an epoch of its own, and brokers add partitions by themselves. */
  readonly isVersion2: boolean;
}

export interface CoordinatorOptions {
  readonly cluster: Cluster;
  readonly transactionalId: string;
  readonly transactionTimeoutMs: number;
}

/** Level of the feature from which on a delayed request cannot get into a later transaction. */
const TRANSACTION_VERSION_2 = 2;

/**
 * Requests to the broker that coordinates the transactions of one id. Every method tries once and rejects with RequestError, whose
 * `errorCode` is null when no answer came: then nobody knows whether it was done.
 */
export class TransactionCoordinator {
  readonly #options: CoordinatorOptions;
  #nodeId = -1;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
  }

  /** Fences whoever used the id before. CONCURRENT_TRANSACTIONS: what that one left open is being ended; ask again. */
  async initProducer(): Promise<TransactionIdentity> {
    const { transactionalId, transactionTimeoutMs } = this.#options;
    // A coordinator moves with the leader of its partition: asked anew each time, as this is what is done after any trouble.
    this.#nodeId = await this.#find();
    const connection = await this.#connection();
    const apiVersion = connection.versionFor(
      ApiKey.InitProducerId,
      INIT_PRODUCER_ID_VERSION_MIN,
      INIT_PRODUCER_ID_VERSION_MAX,
    );
    const answer = await this.#ask(connection, {
      apiKey: ApiKey.InitProducerId,
      apiVersion,
      body: encodeInitProducerId(transactionalId, transactionTimeoutMs, apiVersion),
      decode: (payload) => decodeInitProducerIdResponse(payload, apiVersion),
    });
    this.#check(connection, answer.errorCode, `get a producer id for transactional id "${transactionalId}"`);
    const isVersion2 = connection.featureLevel("transaction.version") >= TRANSACTION_VERSION_2 &&
      connection.highestVersion(ApiKey.EndTxn, END_TXN_VERSION_TV2, END_TXN_VERSION_TV2) !== null;
    return identityOf(answer.producerId, answer.producerEpoch, isVersion2);
  }

  /** What became of the last transaction. Null: the id is new, or the broker cannot tell (before Kafka 3.0). */
  async describe(): Promise<TransactionDescription | null> {
    const { transactionalId } = this.#options;
    this.#nodeId = await this.#find();
    const connection = await this.#connection();
    const version = DESCRIBE_TRANSACTIONS_VERSION;
    const apiKey = ApiKey.DescribeTransactions;
    if (connection.highestVersion(apiKey, version, version) === null) return null;
    const { transactions } = await this.#ask(connection, {
      apiKey,
      apiVersion: version,
      body: encodeDescribeTransactions([transactionalId]),
      decode: decodeDescribeTransactionsResponse,
    });
    const found = transactions.find((each) => each.transactionalId === transactionalId);
    if (found === undefined) throw unusable(connection, apiKey, "the id is missing in it");
    if (found.errorCode === ErrorCode.TRANSACTIONAL_ID_NOT_FOUND) return null;
    this.#check(connection, found.errorCode, `describe transactional id "${transactionalId}"`);
    return found;
  }

  /** Before transaction.version 2: says which partitions the transaction writes to, before it does. */
  async addPartitions(
    identity: TransactionIdentity,
    partitions: readonly TransactionPartition[],
  ): Promise<void> {
    const connection = await this.#connection();
    const apiVersion = connection.versionFor(
      ApiKey.AddPartitionsToTxn,
      ADD_PARTITIONS_TO_TXN_VERSION_MIN,
      ADD_PARTITIONS_TO_TXN_VERSION_MAX,
    );
    const answer = await this.#ask(connection, {
      apiKey: ApiKey.AddPartitionsToTxn,
      apiVersion,
      body: encodeAddPartitionsToTxn(this.#producer(identity), partitions, apiVersion),
      decode: (payload) => decodeAddPartitionsToTxnResponse(payload, apiVersion),
    });
    for (const { topic, partition } of partitions) {
      const found = answer.partitions.find((each) => each.topic === topic && each.partition === partition);
      const code = found?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
      this.#check(connection, code, `add partition ${partition} of topic "${topic}" to a transaction`);
    }
  }

  /** Commits or aborts; returns the identity for the next transaction. */
  async end(identity: TransactionIdentity, isCommitted: boolean): Promise<TransactionIdentity> {
    const connection = await this.#connection();
    const apiVersion = identity.isVersion2
      ? connection.versionFor(ApiKey.EndTxn, END_TXN_VERSION_TV2, END_TXN_VERSION_TV2)
      : connection.versionFor(ApiKey.EndTxn, END_TXN_VERSION_MIN, END_TXN_VERSION_MAX_TV1);
    const asked = this.#ask(connection, {
      apiKey: ApiKey.EndTxn,
      apiVersion,
      body: encodeEndTxn(this.#producer(identity), isCommitted, apiVersion),
      decode: (payload) => decodeEndTxnResponse(payload, apiVersion),
    });
    crashPoint("txn_after_commit_send");
    const answer = await asked;
    this.#check(connection, answer.errorCode, `${isCommitted ? "commit" : "abort"} a transaction`);
    if (answer.next === null) return identity;
    return identityOf(answer.next.producerId, answer.next.producerEpoch, true);
  }

  async #find(): Promise<number> {
    const { cluster, transactionalId } = this.#options;
    return await cluster.ask(async (connection) => {
      const apiVersion = connection.versionFor(
        ApiKey.FindCoordinator,
        FIND_COORDINATOR_VERSION_MIN,
        FIND_COORDINATOR_VERSION_MAX,
      );
      const answer = await this.#ask(connection, {
        apiKey: ApiKey.FindCoordinator,
        apiVersion,
        body: encodeFindTransactionCoordinator(transactionalId, apiVersion),
        decode: (payload) => decodeFindCoordinatorResponse(payload, apiVersion),
      });
      const what = `find the coordinator of transactional id "${transactionalId}"`;
      this.#check(connection, answer.errorCode, what, answer.errorMessage);
      return answer.nodeId;
    });
  }

  async #connection(): Promise<BrokerConnection> {
    const { cluster } = this.#options;
    if (cluster.openConnection(this.#nodeId) === null) {
      await cluster.refresh([], "the coordinator of transactions is not connected");
    }
    return await cluster.connectionTo(this.#nodeId);
  }

  #ask<T extends { readonly throttleMs: number }>(
    connection: BrokerConnection,
    question: Question<T>,
  ): Promise<T> {
    return askBroker(connection, question, this.#options.cluster.options.requestTimeoutMs);
  }

  #check(
    connection: BrokerConnection,
    errorCode: number,
    what: string,
    detail: string | null = null,
  ): void {
    if (errorCode === ErrorCode.NONE) return;
    const refusal = brokerRefusal(errorCode, what, connection.broker, detail);
    const hint = hintOf(errorCode, this.#options);
    if (hint === null) throw refusal;
    throw new RequestError(refusal.code, refusal.message, { broker: connection.broker, errorCode, hint });
  }

  #producer({ producerId, epoch }: TransactionIdentity) {
    return { transactionalId: this.#options.transactionalId, producerId, producerEpoch: epoch };
  }
}

function identityOf(producerId: Buffer, epoch: number, isVersion2: boolean): TransactionIdentity {
  const [producerIdHigh, producerIdLow] = [producerId.readInt32BE(0), producerId.readInt32BE(4)];
  return { producerId, producerIdHigh, producerIdLow, epoch, isVersion2 };
}

/** What a Produce request needs to be in the producer's transaction. */
export function produceTransactionOf(
  { isVersion2 }: TransactionIdentity,
  transactionalId: string,
): ProduceTransaction {
  return isVersion2
    ? { transactionalId, versionMin: PRODUCE_VERSION_TV2, versionMax: PRODUCE_VERSION_TV2 }
    : { transactionalId, versionMin: PRODUCE_VERSION_MIN, versionMax: PRODUCE_VERSION_MAX_TV1 };
}

/** What an operator can do about a refusal that has to do with the id. */
function hintOf(
  errorCode: number,
  { transactionalId, transactionTimeoutMs }: CoordinatorOptions,
): string | null {
  if (errorCode === ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED) {
    return `Give this user WRITE and DESCRIBE on transactional id "${transactionalId}"`;
  }
  if (errorCode === ErrorCode.INVALID_TRANSACTION_TIMEOUT) {
    return `Set transaction_timeout_ms to less than ${transactionTimeoutMs}: the brokers' transaction.max.timeout.ms is lower`;
  }
  return null;
}
