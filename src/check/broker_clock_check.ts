import { ApiKey } from "../kafka/protocol/api_keys.ts";
import {
  decodeDescribeQuorumResponse,
  DESCRIBE_QUORUM_VERSION,
  encodeDescribeQuorum,
} from "../kafka/protocol/describe_quorum.ts";
import { ErrorCode, errorInfo } from "../kafka/protocol/error_codes.ts";
import { type CheckResult, found, passed, placeOf } from "./check_result.ts";
import type { ClusterView } from "./cluster_view.ts";

/** Clocks that are further apart are warned of: records carry this host's time, and brokers forget producers by it. */
export const CLOCK_DIFFERENCE_WARNING_MS = 10_000;

/** What was asked when, by this host's clock. */
export interface ClockAnswer {
  readonly sentMs: number;
  readonly receivedMs: number;
  /** The broker's time when it answered. */
  readonly theirsMs: number;
}

/**
 * This host's clock and the cluster's. Kafka's answers hold no time but one: the active controller says of itself that it has caught up *now*
 * (DescribeQuorum). That is compared; where it cannot be asked, nothing is known and nothing is guessed.
 */
export async function checkBrokerClock(
  { config, cluster }: ClusterView,
  now: () => number,
): Promise<readonly CheckResult[]> {
  const place = placeOf("clock.broker", { sink: config.name });
  const skip = (reason: string) => [
    found("skipped", place, "not-told", `The clock of the brokers is not compared: ${reason}`),
  ];
  const asked = await cluster.ask(async (connection) => {
    const version = connection.highestVersion(
      ApiKey.DescribeQuorum,
      DESCRIBE_QUORUM_VERSION,
      DESCRIBE_QUORUM_VERSION,
    );
    if (version === null) return null;
    const sentMs = now();
    const payload = await connection.request(ApiKey.DescribeQuorum, version, encodeDescribeQuorum(), {
      timeoutMs: config.requestTimeoutMs,
    });
    return { sentMs, receivedMs: now(), answer: decodeDescribeQuorumResponse(payload) };
  });
  if (asked === null) return skip("brokers before Kafka 3.3, and those with ZooKeeper, do not tell the time");
  const { sentMs, receivedMs, answer } = asked;
  if (answer.errorCode === ErrorCode.CLUSTER_AUTHORIZATION_FAILED) {
    return skip("this user has no right to DESCRIBE the cluster");
  }
  if (answer.errorCode !== ErrorCode.NONE) {
    return skip(`the broker answers ${errorInfo(answer.errorCode).name}`);
  }
  const theirsMs = answer.voters.find(({ id }) => id === answer.leader)?.lastCaughtUpMs ?? -1;
  if (theirsMs <= 0) return skip("the active controller did not tell its time");
  return [{ ...place, ...judgeClock(config.name, { sentMs, receivedMs, theirsMs }) }];
}

/** The difference is known up to the time that the answer took. */
export function judgeClock(sink: string, { sentMs, receivedMs, theirsMs }: ClockAnswer): CheckResult {
  const place = placeOf("clock.broker", { sink });
  const tookMs = Math.max(0, receivedMs - sentMs);
  // The least difference that the answer leaves possible, with its sign.
  const aheadMs = theirsMs > receivedMs ? receivedMs - theirsMs : theirsMs < sentMs ? sentMs - theirsMs : 0;
  const apartMs = Math.abs(aheadMs);
  if (apartMs < CLOCK_DIFFERENCE_WARNING_MS) {
    const most = apartMs + tookMs;
    return passed(place, `The clocks of this host and of the active controller are at most ${most} ms apart`);
  }
  const seconds = (apartMs / 1000).toFixed(1);
  return found(
    "warning",
    place,
    "clocks-apart",
    `The clock of this host is ${seconds} s ${aheadMs > 0 ? "ahead of" : "behind"} the active controller's`,
    "Let both follow the same time server: records carry this host's time, and retention and the memory for repeats go by it",
  );
}
