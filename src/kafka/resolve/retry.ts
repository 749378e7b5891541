import type { Log } from "../../telemetry/log.ts";
import type { Cluster } from "../cluster.ts";
import { unlessAborted } from "../cluster_requests.ts";
import { KafkaError } from "../errors.ts";

/** Worth another try: everything that a cluster or a network does, but for the end of the cluster's connections here. */
export function isWorthRetrying(error: unknown): error is KafkaError {
  return error instanceof KafkaError && !(error.code === "closed" && error.broker === null);
}

/** Asks for fresh metadata. When no broker answers it resolves all the same: what needs the metadata finds that out. */
export async function refreshMetadata(
  cluster: Cluster,
  topic: string,
  reason: string,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  try {
    await unlessAborted(cluster.refresh([topic], reason), signal);
  } catch (error) {
    if (!isWorthRetrying(error)) throw error;
    log.debug(`Metadata could not be refreshed: ${error.message}`);
  }
}
