import type { TCPSocketListener } from "bun";
import { errnoName, StartError } from "../errors.ts";
import type { EventLoopLag } from "../telemetry/event_loop_lag.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Status } from "../telemetry/status.ts";
import type { HttpConnection } from "./http_connection.ts";
import type { HttpServer } from "./http_server.ts";
import { formatTcpAddress, type ListenAddress, parseListenAddress } from "./listen_address.ts";
import { isOwnHost } from "./own_host.ts";
import { listenUnix, type UnixSocket } from "./unix_socket.ts";

export interface ApiOptions {
  /** "127.0.0.1:8686", "[::1]:8686" or "unix:/path". */
  readonly address: string;
  /** At a time. */
  readonly connectionsMax: number;
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
  /** For connections that come from now on. */
  setConnectionsMax(count: number): void;
  /** Takes no more requests, gives those that run `STOP_MS`, then cuts them. */
  stop(): Promise<void>;
}

/** Grace for requests that run while the API stops. */
const STOP_MS = 1_000;

/**
 * Serves /health, /ready, /metrics, /audit and the status page. Throws a StartError when the address can't be used.
 *
 * hono and the pages are loaded here and not at start, so that a start without `[api]` does not pay for them.
 */
export async function startApi(options: ApiOptions): Promise<ApiServer> {
  const { createApp } = await import("./app.tsx");
  const { HttpServer } = await import("./http_server.ts");
  const target = parseListenAddress(options.address);
  const app = createApp({ ...options, isOwnHost: (host) => isOwnHost(host, target) });
  const server = new HttpServer({
    answer: (request) => app.fetch(request),
    connectionsMax: options.connectionsMax,
    now: Date.now,
    onFull: (isRefused, count) => tellFull(options.log, isRefused, count),
  });
  const common = { socket: server.handler, allowHalfOpen: true };
  const running = (address: string, listener: Listener, socket: UnixSocket | null): ApiServer => ({
    address,
    setConnectionsMax: (count) => server.connectionsMax = count,
    stop: () => stopServer(server, listener, socket),
  });
  if (target.kind === "tcp") {
    const listener = listenTcp(target, (hostname, port) => Bun.listen({ ...common, hostname, port }));
    return running(formatTcpAddress(target.hostname, listener.port), listener, null);
  }
  let listener: Listener | null = null;
  const socket = await listenUnix(
    target.path,
    (path) => listener = Bun.listen({ ...common, unix: path }),
  );
  return running(options.address, listener!, socket);
}

type Listener = Pick<TCPSocketListener, "stop">;

function tellFull(log: Log, isRefused: boolean, count: number): void {
  log.warn(
    `The HTTP server has as many connections as api.max_connections allows (${count}): ${
      isRefused ? "a new one was refused" : "the one that was left alone for longest was closed for a new one"
    }`,
    { hint: "find out who holds them, or raise api.max_connections" },
  );
}

function listenTcp(
  target: ListenAddress & { kind: "tcp" },
  listen: (hostname: string, port: number) => TCPSocketListener<HttpConnection>,
): TCPSocketListener<HttpConnection> {
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

async function stopServer(server: HttpServer, listener: Listener, socket: UnixSocket | null): Promise<void> {
  socket?.remove();
  listener.stop(false);
  await server.stop(STOP_MS);
  listener.stop(true);
}
