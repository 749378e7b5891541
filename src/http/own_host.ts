import { isIP } from "node:net";
import type { ListenAddress } from "./listen_address.ts";

/**
 * Whether a request that says `Host: header` is meant for this server. A page from elsewhere can make a browser ask a loopback address under a
 * name of its own (DNS rebinding), and read the answer; it cannot make it send an address or "localhost". So a server that listens on a loopback
 * address takes these and the name of its configuration alone. On other addresses any name may be right; a Unix socket no browser reaches.
 */
export function isOwnHost(header: string | null, listen: ListenAddress): boolean {
  if (listen.kind === "unix" || !isLoopback(listen.hostname)) return true;
  // HTTP/1.0 has none. A browser always sends one.
  if (header === null) return true;
  const name = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(header);
  if (name === null) return false;
  const host = (name[1] ?? name[2]!).toLowerCase().replace(/\.$/, "");
  return isIP(host) !== 0 || host === "localhost" || host.endsWith(".localhost") ||
    host === listen.hostname.toLowerCase();
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" ||
    (isIP(hostname) === 4 && hostname.startsWith("127."));
}
