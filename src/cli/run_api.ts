import path from "node:path";
import type { Config } from "../config/config.ts";
import { type ApiServer, startApi } from "../http/api.ts";
import { EventLoopLag } from "../telemetry/event_loop_lag.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { computeStatus } from "../telemetry/status.ts";

export interface RunApiOptions {
  readonly config: Config;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => number;
  readonly version: string;
  readonly isStopping: () => boolean;
}

/** Starts what `[api]` asks for; null where it does not. Throws a `StartError` when the address cannot be had. */
export async function startRunApi(options: RunApiOptions): Promise<ApiServer | null> {
  const { config, metrics, log, now, version, isStopping } = options;
  const { api, sources, sinks } = config;
  if (api === null) return null;
  const eventLoopLag = new EventLoopLag({ progress: () => eventsIn(metrics) });
  eventLoopLag.start();
  const server = await startApi({
    address: api.address,
    metrics,
    status: () => computeStatus(metrics, now(), { sources, sinks, isStopping: isStopping() }),
    log,
    version,
    eventLoopLag,
    dataDir: path.resolve(config.dataDir),
    pid: process.pid,
  });
  log.info(`Listening on ${server.address} for /health, /ready, /metrics, /audit and a status page at /`);
  return server;
}

function eventsIn(metrics: Metrics): number {
  let count = 0;
  for (const source of metrics.sources.values()) count += source.eventsInCount;
  return count;
}
