import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";

/** Counts and tells that a broker asks to wait. The log holds repeats back. */
export function tellThrottled(
  throttleMs: number,
  broker: string,
  clientId: string | null,
  { metrics, log }: { readonly metrics: SinkMetrics; readonly log: Log },
): void {
  metrics.throttledMs += throttleMs;
  log.info(
    `Broker ${broker} asks this sink to wait for ${throttleMs} ms: a quota of the cluster is used up`,
    {
      hint: `kafka-configs --describe --entity-type clients shows the quotas${
        clientId === null ? "" : ` (this client is "${clientId}")`
      }, and --entity-type users those of users`,
    },
  );
}
