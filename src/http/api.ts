import { errnoName, StartError } from "../errors.ts";
import type { EventLoopLag } from "../telemetry/event_loop_lag.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Status } from "../telemetry/status.ts";
import { formatTcpAddress, type ListenAddress, parseListenAddress } from "./listen_address.ts";
import { isOwnHost } from "./own_host.ts";
import { listenUnix, type UnixSocket } from "./unix_socket.ts";

export interface ApiOptions {
  /** "127.0.0.1:8686", "[::1]:8686" or "unix:/path". */
  readonly address: string;
  readonly metrics: Metrics;
  /** Computed anew for every request that shows it. */
  readonly status: () => Status;
  readonly log: Log;
  readonly version: string;
  /** Started and stopped by its owner; null when it is not measured. */
  readonly eventLoopLag?: EventLoopLag | null;
  /** Tells at /audit which shipper this is, so that nobody takes the figures of another one for his. */
  readonly dataDir?: string;
  readonly pid?: number;
}

export interface ApiServer {
  /** Where it listens, with the port that was chosen for port 0. */
  readonly address: string;
  /** Takes no more requests, gives those that run `STOP_MS`, then cuts them. */
  stop(): Promise<void>;
}

/** Grace for requests that run while the API stops. */
const STOP_MS = 1_000;
/** A connection without traffic is closed. */
const IDLE_SECONDS = 10;
/** Nothing here takes a body. */
const BODY_BYTES_MAX = 1_024;

/**
 * Serves /health, /ready, /metrics, /audit and the status page. Throws a StartError when the address can't be used.
 *
 * hono and the pages are loaded here and not at start, so that a start without `[api]` does not pay for them.
 */
export async function startApi(options: ApiOptions): Promise<ApiServer> {
  const { createApp } = await import("./app.tsx");
  const target = parseListenAddress(options.address);
  const app = createApp({ ...options, isOwnHost: (host) => isOwnHost(host, target) });
  const fetch = (request: Request) => app.fetch(request);
  const limits = { maxRequestBodySize: BODY_BYTES_MAX, development: false };
  // Without `reusePort: false`, `development: false` lets a second process share the port, and each gets half of the requests.
  const tcpLimits = { idleTimeout: IDLE_SECONDS, reusePort: false };
  if (target.kind === "tcp") {
    const server = listenTcp(
      target,
      (hostname, port) => Bun.serve({ ...limits, ...tcpLimits, fetch, hostname, port }),
    );
    const address = formatTcpAddress(target.hostname, server.port ?? target.port);
    return { address, stop: () => stopServer(server, null) };
  }
  let server: ReturnType<typeof Bun.serve> | null = null;
  const socket = await listenUnix(
    target.path,
    (path) => server = Bun.serve({ ...limits, fetch, unix: path }),
  );
  return { address: options.address, stop: () => stopServer(server!, socket) };
}

type Server = ReturnType<typeof Bun.serve>;

function listenTcp(
  target: ListenAddress & { kind: "tcp" },
  listen: (hostname: string, port: number) => Server,
): Server {
  try {
    return listen(target.hostname, target.port);
  } catch (error) {
    const code = errnoName(error);
    const address = formatTcpAddress(target.hostname, target.port);
    if (code === "EADDRINUSE") {
      throw new StartError(
        "address-in-use",
        `Cannot listen at "${address}": another process listens there`,
        "stop it, or choose another port for api.address",
      );
    }
    const hints: Record<string, string> = {
      EACCES: "ports below 1024 need a privilege; choose a higher one",
      EADDRNOTAVAIL: "use an address of this machine, for example 127.0.0.1",
    };
    throw new StartError("address-unusable", `Cannot listen at "${address}": ${code}`, hints[code] ?? null);
  }
}

async function stopServer(server: Server, socket: UnixSocket | null): Promise<void> {
  socket?.remove();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<void>((resolve) => timer = setTimeout(resolve, STOP_MS));
  await Promise.race([server.stop(), deadline]);
  clearTimeout(timer);
  await server.stop(true);
}
