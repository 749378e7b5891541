import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const LOWEST_PORT = 12_000;
const FALLBACK_HIGHEST_PORT = 32_000;
const ATTEMPTS_MAX = 200;

const handedOut = new Set<number>();

/**
 * Free loopback ports, each handed out once by this process. They lie below the range that the kernel takes for outgoing connections: a
 * broker that is down must find its port free again, and a client that dials it meanwhile must not be connected to itself.
 */
export async function freePorts(count: number): Promise<number[]> {
  const highest = Math.max(lowestEphemeralPort() - 1, LOWEST_PORT + 1_000);
  const ports: number[] = [];
  for (let attempt = 0; ports.length < count; attempt++) {
    if (attempt === ATTEMPTS_MAX) {
      throw new Error(`Cannot find ${count} free ports from ${LOWEST_PORT} to ${highest}`);
    }
    const port = LOWEST_PORT + Math.floor(Math.random() * (highest - LOWEST_PORT));
    if (handedOut.has(port) || !await isFree(port)) continue;
    handedOut.add(port);
    ports.push(port);
  }
  return ports;
}

function lowestEphemeralPort(): number {
  try {
    const range = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
    return Number.parseInt(range, 10) || FALLBACK_HIGHEST_PORT;
  } catch {
    return FALLBACK_HIGHEST_PORT; // not Linux
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
