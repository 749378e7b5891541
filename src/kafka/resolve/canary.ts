import type { Log } from "../../telemetry/log.ts";
import type { BrokerConnection } from "../broker_connection.ts";
import type { Cluster } from "../cluster.ts";
import { KafkaError } from "../errors.ts";
import { ApiKey } from "../protocol/api_keys.ts";
import {
  decodeDescribeConfigsResponse,
  DESCRIBE_CONFIGS_VERSION_MAX,
  DESCRIBE_CONFIGS_VERSION_MIN,
  encodeDescribeBrokerConfigs,
} from "../protocol/describe_configs.ts";
import {
  decodeDescribeProducersResponse,
  DESCRIBE_PRODUCERS_VERSION,
  encodeDescribeProducers,
  type PartitionProducers,
} from "../protocol/describe_producers.ts";
import { ErrorCode } from "../protocol/error_codes.ts";
import { askBroker } from "./ask_broker.ts";
import { findProducer } from "./partition_probe.ts";
import { pause } from "../../pause.ts";

/** A partition that was written to. */
export interface WrittenPartition {
  readonly topic: string;
  readonly partition: number;
}

/** A partition on which the broker's de-duplication cannot be relied on. */
export interface Unprotected extends WrittenPartition {
  /** "absent": the broker does not know our producer id. "stale": it forgets it soon, or has the right to already. */
  readonly reason: "absent" | "stale";
  /** -1 when absent. */
  readonly lastTimestampMs: number;
  /** The broker's producer.id.expiration.ms, or its default where we may not know it. */
  readonly expirationMs: number;
}

export interface CanaryReport {
  readonly unprotected: readonly Unprotected[];
  /** Partitions about which a broker answered. */
  readonly checkedCount: number;
  /** Topics that may not be looked at without READ right, each named in one report only. */
  readonly notPermittedTopics: readonly string[];
  /** Partitions of which nothing could be learnt now: no leader, no READ right, a broker that does not answer or is too old. */
  readonly unknownCount: number;
  /** Partitions beyond CANARY_PARTITIONS_MAX of a broker; the next check takes others. */
  readonly skippedCount: number;
}

export interface CanaryOptions {
  readonly cluster: Cluster;
  /** Our producer id, as in ProducerNumbers. */
  readonly producerIdHigh: number;
  readonly producerIdLow: number;
  /** Those in which a batch was acknowledged within the last half of the dedup window: in older ones, to be forgotten is usual. */
  readonly partitions: () => readonly WrittenPartition[];
  readonly onReport: (report: CanaryReport) => void;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Log;
}

/** Partitions in one request: each answer lists every producer of the partition. */
export const CANARY_PARTITIONS_MAX = 200;
export const CANARY_INTERVAL_MS = 3_600_000;
/** After the first acknowledgements and after clock jumps, which many hosts may see at once. */
const SOON_MS_MIN = 2_000;
const SOON_MS_MAX = 20_000;
/** Brokers are asked one after the other, up to this far apart. */
const BROKER_GAP_MS_MAX = 1_000;
/** Default of producer.id.expiration.ms (KIP-854). */
const EXPIRATION_DEFAULT_MS = 86_400_000;
/** Topics that are remembered as named. */
const NAMED_TOPICS_MAX = 10_000;

interface Tally {
  readonly unprotected: Unprotected[];
  readonly notPermitted: Set<string>;
  checkedCount: number;
  unknownCount: number;
  skippedCount: number;
}

/**
 * Looks now and then whether brokers remember our producer: they forget one by the time of its records, not by when they came
 * (KIP-854), and then take a repeat for something new. A listing right after an acknowledgement proves nothing, as they
 * look for what has expired every ten minutes only; so the time in it is judged too.
 */
export class Canary {
  readonly #options: CanaryOptions;
  readonly #abort = new AbortController();
  readonly #named = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #dueMs = Infinity;
  #isChecking = false;
  #isWantedAgain = false;

  constructor(options: CanaryOptions) {
    this.#options = options;
  }

  /** Call after the first acknowledgement of a run and when the clock was changed: checks within seconds, then every hour. */
  checkSoon(): void {
    if (this.#isChecking) this.#isWantedAgain = true;
    else this.#planSoon();
  }

  #planSoon(): void {
    this.#plan(SOON_MS_MIN + this.#options.random() * (SOON_MS_MAX - SOON_MS_MIN));
  }

  /** No report comes after this. */
  close(): void {
    this.#abort.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** The earlier of what is planned and `delayMs` from now. */
  #plan(delayMs: number): void {
    const dueMs = performance.now() + delayMs;
    if (this.#abort.signal.aborted || dueMs >= this.#dueMs) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#run().catch((error: unknown) =>
        this.#options.log.error(`Cannot check whether brokers remember this producer: ${error}`)
      );
    }, delayMs);
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    this.#isChecking = true;
    try {
      const report = await this.check();
      if (!this.#abort.signal.aborted) this.#options.onReport(report);
    } finally {
      this.#isChecking = false;
      this.#dueMs = Infinity;
      if (this.#isWantedAgain) this.#planSoon();
      this.#isWantedAgain = false;
      this.#plan(CANARY_INTERVAL_MS * (0.9 + this.#options.random() / 5));
    }
  }

  /** One check, at once. What goes wrong with a broker counts as unknown. */
  async check(): Promise<CanaryReport> {
    const tally: Tally = {
      unprotected: [],
      notPermitted: new Set(),
      checkedCount: 0,
      unknownCount: 0,
      skippedCount: 0,
    };
    let isFirst = true;
    for (const [nodeId, partitions] of this.#byLeader(tally)) {
      if (!isFirst) await pause(this.#options.random() * BROKER_GAP_MS_MAX, this.#abort.signal);
      if (this.#abort.signal.aborted) break;
      isFirst = false;
      await this.#checkBroker(nodeId, partitions, tally);
    }
    const notPermittedTopics = [...tally.notPermitted].filter((topic) => !this.#named.has(topic));
    for (const topic of notPermittedTopics) if (this.#named.size < NAMED_TOPICS_MAX) this.#named.add(topic);
    const { unprotected, checkedCount, unknownCount, skippedCount } = tally;
    return { unprotected, checkedCount, notPermittedTopics, unknownCount, skippedCount };
  }

  #byLeader(tally: Tally): Map<number, WrittenPartition[]> {
    const { cluster, partitions, random } = this.#options;
    const byLeader = new Map<number, WrittenPartition[]>();
    for (const each of partitions()) {
      const leader = cluster.leaderOf(each.topic, each.partition);
      if (leader < 0) tally.unknownCount++;
      else if (byLeader.has(leader)) byLeader.get(leader)!.push(each);
      else byLeader.set(leader, [each]);
    }
    for (const [leader, all] of byLeader) {
      if (all.length <= CANARY_PARTITIONS_MAX) continue;
      const first = Math.floor(random() * all.length);
      byLeader.set(leader, [...all.slice(first), ...all.slice(0, first)].slice(0, CANARY_PARTITIONS_MAX));
      tally.skippedCount += all.length - CANARY_PARTITIONS_MAX;
    }
    return byLeader;
  }

  async #checkBroker(nodeId: number, partitions: readonly WrittenPartition[], tally: Tally): Promise<void> {
    const { cluster, log } = this.#options;
    const { requestTimeoutMs } = cluster.options;
    let answers: readonly PartitionProducers[];
    let expirationMs: number;
    try {
      const connection = cluster.openConnection(nodeId) ?? await cluster.connectionTo(nodeId);
      answers = await listProducers(connection, partitions, requestTimeoutMs);
      expirationMs = await readExpirationMs(connection, nodeId, requestTimeoutMs);
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      log.debug(`Broker ${nodeId} does not tell which producers it remembers: ${error.message}`);
      tally.unknownCount += partitions.length;
      return;
    }
    for (const { topic, partition } of partitions) {
      const answer = answers.find((each) => each.topic === topic && each.partition === partition);
      if (answer?.errorCode === ErrorCode.NONE) this.#judge(answer, expirationMs, tally);
      else tally.unknownCount++;
      if (answer?.errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED) tally.notPermitted.add(topic);
    }
  }

  #judge({ topic, partition, producers }: PartitionProducers, expirationMs: number, tally: Tally): void {
    tally.checkedCount++;
    const own = findProducer(producers, this.#options);
    if (own === undefined) {
      tally.unprotected.push({ topic, partition, reason: "absent", lastTimestampMs: -1, expirationMs });
    } else if (this.#options.now() - own.lastTimestampMs > expirationMs / 2) {
      const { lastTimestampMs } = own;
      tally.unprotected.push({ topic, partition, reason: "stale", lastTimestampMs, expirationMs });
    }
  }
}

async function listProducers(
  connection: BrokerConnection,
  partitions: readonly WrittenPartition[],
  timeoutMs: number,
): Promise<readonly PartitionProducers[]> {
  const apiKey = ApiKey.DescribeProducers;
  const version = DESCRIBE_PRODUCERS_VERSION;
  const apiVersion = connection.versionFor(apiKey, version, version);
  const names = [...new Set(partitions.map(({ topic }) => topic))];
  const topics = names.map((name) => ({
    name,
    partitions: partitions.filter(({ topic }) => topic === name).map(({ partition }) => partition),
  }));
  const body = encodeDescribeProducers(topics);
  const decode = decodeDescribeProducersResponse;
  return (await askBroker(connection, { apiKey, apiVersion, body, decode }, timeoutMs)).partitions;
}

/** The broker's producer.id.expiration.ms; its default where this user may not know it. */
async function readExpirationMs(
  connection: BrokerConnection,
  nodeId: number,
  timeoutMs: number,
): Promise<number> {
  const key = "producer.id.expiration.ms";
  const apiKey = ApiKey.DescribeConfigs;
  const apiVersion = connection.highestVersion(
    apiKey,
    DESCRIBE_CONFIGS_VERSION_MIN,
    DESCRIBE_CONFIGS_VERSION_MAX,
  );
  if (apiVersion === null) return EXPIRATION_DEFAULT_MS;
  const body = encodeDescribeBrokerConfigs(nodeId, [key], apiVersion);
  const decode = (payload: Buffer) => decodeDescribeConfigsResponse(payload, apiVersion);
  const { resources } = await askBroker(connection, { apiKey, apiVersion, body, decode }, timeoutMs);
  const found = resources.find(({ name }) => name === String(nodeId));
  const value = found?.errorCode === ErrorCode.NONE ? Number(found.values.get(key) ?? NaN) : NaN;
  return Number.isSafeInteger(value) && value > 0 ? value : EXPIRATION_DEFAULT_MS;
}
