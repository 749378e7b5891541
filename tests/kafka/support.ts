import type { BrokerConnection, BrokerConnectionOptions } from "../../src/kafka/broker_connection.ts";
import { Cluster, type ClusterOptions } from "../../src/kafka/cluster.ts";
import { openBrokerConnection } from "../../src/kafka/dial.ts";
import { KafkaError } from "../../src/kafka/errors.ts";
import type { Log } from "../../src/telemetry/log.ts";

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

export type ConnectOverrides = Partial<BrokerConnectionOptions>;

/** Opens a connection to a loopback port with short timeouts. */
export function connectTo(port: number, overrides: ConnectOverrides = {}): Promise<BrokerConnection> {
  return openBrokerConnection({
    host: "127.0.0.1",
    port,
    clientId: "test",
    tls: null,
    login: null,
    connectTimeoutMs: 2_000,
    socketTimeoutMs: 5_000,
    log: silentLog,
    ...overrides,
  });
}

/** A cluster client with short timeouts and without jitter. */
export function newCluster(
  bootstrapServers: readonly string[],
  overrides: Partial<ClusterOptions> = {},
): Cluster {
  return new Cluster({
    bootstrapServers,
    clientId: "test",
    tls: null,
    sasl: null,
    connectTimeoutMs: 2_000,
    connectTimeoutMaxMs: 2_000,
    dnsLookup: "use_all_dns_ips",
    sendBufferBytes: 0,
    receiveBufferBytes: 0,
    socketTimeoutMs: 5_000,
    requestTimeoutMs: 2_000,
    retryIntervalMs: 10,
    retryMaxIntervalMs: 100,
    metadataRefreshMs: 300_000,
    log: silentLog,
    random: () => 0.999,
    ...overrides,
  });
}

/** The KafkaError that a promise rejects with; anything else fails the test. */
export async function failureOf(work: Promise<unknown>): Promise<KafkaError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof KafkaError) return error;
    throw error;
  }
  throw new Error("Nothing failed");
}

/** Waits until `condition` holds; fails after 20 seconds, which a busy machine does not need. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadlineMs = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > deadlineMs) throw new Error(`Waited in vain: ${what}`);
    await Bun.sleep(2);
  }
}
