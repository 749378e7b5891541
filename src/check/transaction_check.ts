import { aclUser } from "./acl_user.ts";
import type { BrokerConnection } from "../kafka/broker_connection.ts";
import type { Cluster } from "../kafka/cluster.ts";
import { ApiKey } from "../kafka/protocol/api_keys.ts";
import {
  decodeEndTxnResponse,
  encodeEndTxn,
  END_TXN_VERSION_MAX_TV1,
  END_TXN_VERSION_MIN,
} from "../kafka/protocol/end_txn.ts";
import { ErrorCode, errorInfo } from "../kafka/protocol/error_codes.ts";
import {
  decodeFindCoordinatorResponse,
  encodeFindTransactionCoordinator,
  FIND_COORDINATOR_VERSION_MAX,
  FIND_COORDINATOR_VERSION_MIN,
  type FindCoordinatorResponse,
} from "../kafka/protocol/find_coordinator.ts";
import { type CheckPlace, type CheckResult, found, passed, placeOf } from "./check_result.ts";
import type { ClusterView } from "./cluster_view.ts";

/** A cluster in which nobody has used transactions yet is given so long, asked this often. */
const COORDINATOR_WAIT_MS = 10_000;
const COORDINATOR_POLL_MS = 250;
/** No cluster has given this one out: ids are given in order from 0. */
const NOBODYS_ID = Buffer.from("3fffffffffffffff", "hex");

/**
 * Whether this user may use the transactional id. InitProducerId would fence a shipper that runs; so it is asked to end the transaction of a producer
 * that does not exist: a coordinator looks at the rights first, and then refuses that producer without touching anything.
 */
export async function checkTransactionalId(
  { config, cluster }: ClusterView,
): Promise<readonly CheckResult[]> {
  const { transactionalId, requestTimeoutMs: timeoutMs } = config;
  const place = placeOf("rights.transactional_id", { sink: config.name, target: transactionalId });
  const answer = await findCoordinator(cluster, transactionalId, timeoutMs);
  if (answer.errorCode !== ErrorCode.NONE) return [refused(place, aclUser(config.sasl), answer.errorCode)];
  const coordinator = await cluster.connectionTo(answer.nodeId);
  const errorCode = await askToEnd(coordinator, transactionalId, timeoutMs);
  if (
    errorCode === ErrorCode.INVALID_PRODUCER_ID_MAPPING || errorCode === ErrorCode.CONCURRENT_TRANSACTIONS ||
    errorCode === ErrorCode.INVALID_TXN_STATE
  ) {
    return [
      passed(place, `This user has WRITE and DESCRIBE on transactional id "${transactionalId}"`),
    ];
  }
  return [refused(place, aclUser(config.sasl), errorCode)];
}

/** The first one who asks makes the cluster set up its coordinators, which takes a moment. */
async function findCoordinator(
  cluster: Cluster,
  transactionalId: string,
  timeoutMs: number,
): Promise<FindCoordinatorResponse> {
  const deadlineMs = performance.now() + COORDINATOR_WAIT_MS;
  for (;;) {
    const answer = await cluster.ask(async (connection) => {
      const version = connection.versionFor(
        ApiKey.FindCoordinator,
        FIND_COORDINATOR_VERSION_MIN,
        FIND_COORDINATOR_VERSION_MAX,
      );
      const body = encodeFindTransactionCoordinator(transactionalId, version);
      const payload = await connection.request(ApiKey.FindCoordinator, version, body, { timeoutMs });
      return decodeFindCoordinatorResponse(payload, version);
    });
    const isEarly = answer.errorCode === ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (!isEarly || performance.now() > deadlineMs) return answer;
    await Bun.sleep(COORDINATOR_POLL_MS);
  }
}

async function askToEnd(
  connection: BrokerConnection,
  transactionalId: string,
  timeoutMs: number,
): Promise<number> {
  const version = connection.versionFor(ApiKey.EndTxn, END_TXN_VERSION_MIN, END_TXN_VERSION_MAX_TV1);
  const producer = { transactionalId, producerId: NOBODYS_ID, producerEpoch: 0 };
  const body = encodeEndTxn(producer, false, version);
  const payload = await connection.request(ApiKey.EndTxn, version, body, { timeoutMs });
  return decodeEndTxnResponse(payload, version).errorCode;
}

function refused(place: CheckPlace, user: string, errorCode: number): CheckResult {
  const { name, hint } = errorInfo(errorCode);
  if (errorCode !== ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED) {
    const message =
      `Cannot tell whether transactional id "${place.target}" can be used: the cluster answers ${name}`;
    return found("warning", place, name, message, hint);
  }
  return found(
    "failed",
    place,
    name,
    `This user has no right to WRITE and DESCRIBE on transactional id "${place.target}"`,
    `kafka-acls --add --allow-principal ${user} --operation Write --operation Describe --transactional-id ${place.target}`,
  );
}
