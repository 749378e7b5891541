import path from "node:path";
import type { ApiConfig, Config } from "../config/config.ts";
import { StartError } from "../errors.ts";
import { type ApiServer, startApi } from "../http/api.ts";
import { parseListenAddress } from "../http/listen_address.ts";
import { EventLoopLag } from "../telemetry/event_loop_lag.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { computeStatus } from "../telemetry/status.ts";

export interface RunApiOptions {
  /** What is at work. */
  readonly config: () => Config;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => number;
  readonly version: string;
  readonly isStopping: () => boolean;
}

/** A server that listens, or none, beside the one before; one of the two is to be stopped. */
export interface PreparedApi {
  /** It is the one from now on. */
  commit(): Promise<void>;
  /** All is as before. */
  cancel(): Promise<void>;
}

interface Listening extends ApiConfig {
  readonly server: ApiServer;
}

/** The HTTP server that `[api]` asks for, which may change while shipper runs. */
export class RunApi {
  readonly #options: RunApiOptions;
  #listening: Listening | null = null;
  #eventLoopLag: EventLoopLag | null = null;

  constructor(options: RunApiOptions) {
    this.#options = options;
  }

  /** Throws a `StartError` when the address cannot be had. */
  async start(api: ApiConfig | null): Promise<void> {
    await (await this.prepare(api)).commit();
  }

  /** Has a server listen where `api` asks for it. Throws a `StartError` when that address cannot be had: then all is as before. */
  async prepare(api: ApiConfig | null): Promise<PreparedApi> {
    const before = this.#listening;
    if (api === null) {
      return { commit: () => this.#replace(null), cancel: () => Promise.resolve() };
    }
    if (api.address === before?.address) {
      const commit = () => {
        before.server.setConnectionsMax(api.connectionsMax);
        this.#listening = { ...before, ...api };
        return Promise.resolve();
      };
      return { commit, cancel: () => Promise.resolve() };
    }
    try {
      const next = await this.#listen(api);
      return { commit: () => this.#replace(next), cancel: () => next.server.stop() };
    } catch (error) {
      const isOwn = error instanceof StartError && error.code === "address-in-use" && before !== null &&
        isSamePort(before.address, api.address);
      if (!isOwn) throw error;
      return await this.#takePort(before, api);
    }
  }

  async stop(): Promise<void> {
    await this.#replace(null);
  }

  /** The same port on another address: the one before has to let it go first. */
  async #takePort(before: Listening, api: ApiConfig): Promise<PreparedApi> {
    await before.server.stop();
    const goBack = async () => void (this.#listening = await this.#listen(before));
    try {
      const next = await this.#listen(api);
      this.#listening = next;
      return {
        commit: () => Promise.resolve(),
        cancel: async () => {
          await next.server.stop();
          await goBack();
        },
      };
    } catch (error) {
      await goBack();
      throw error;
    }
  }

  async #replace(next: Listening | null): Promise<void> {
    const before = this.#listening;
    this.#listening = next;
    await before?.server.stop();
  }

  async #listen({ address, connectionsMax }: ApiConfig): Promise<Listening> {
    const { config, metrics, log, now, version, isStopping } = this.#options;
    if (this.#eventLoopLag === null) {
      this.#eventLoopLag = new EventLoopLag({ progress: () => eventsIn(metrics) });
      this.#eventLoopLag.start();
    }
    const server = await startApi({
      address,
      connectionsMax,
      metrics,
      status: () => computeStatus(metrics, now(), { ...config(), isStopping: isStopping() }),
      log,
      version,
      eventLoopLag: this.#eventLoopLag,
      dataDir: path.resolve(config().dataDir),
      pid: process.pid,
    });
    log.info(`Listening on ${server.address} for /health, /ready, /metrics, /audit and a status page at /`);
    return { address, connectionsMax, server };
  }
}

function isSamePort(one: string, other: string): boolean {
  const [a, b] = [parseListenAddress(one), parseListenAddress(other)];
  return a.kind === "tcp" && b.kind === "tcp" && a.port === b.port;
}

function eventsIn(metrics: Metrics): number {
  let count = 0;
  for (const source of metrics.sources.values()) count += source.eventsInCount;
  return count;
}
