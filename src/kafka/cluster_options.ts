import type { KafkaSinkConfig } from "../config/config.ts";
import type { Log } from "../telemetry/log.ts";
import type { ClusterOptions } from "./cluster.ts";

/** How the brokers of a sink are reached. */
export function clusterOptionsOf(config: KafkaSinkConfig, hostname: string, log: Log): ClusterOptions {
  return {
    bootstrapServers: config.bootstrapServers,
    clientId: config.clientId ?? `shipper-${hostname}-${config.name}`,
    tls: config.tls,
    sasl: config.sasl,
    connectTimeoutMs: config.connectTimeoutMs,
    connectTimeoutMaxMs: config.connectTimeoutMaxMs,
    dnsLookup: config.dnsLookup,
    sendBufferBytes: config.sendBufferBytes,
    receiveBufferBytes: config.receiveBufferBytes,
    socketTimeoutMs: config.socketTimeoutMs,
    requestTimeoutMs: config.requestTimeoutMs,
    retryIntervalMs: config.retryIntervalMs,
    retryMaxIntervalMs: config.retryMaxIntervalMs,
    metadataRefreshMs: config.metadataRefreshMs,
    log,
  };
}
