import { StartError } from "../errors.ts";

/** Where the API listens. */
export type ListenAddress =
  | { readonly kind: "tcp"; readonly hostname: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

const PORT_MAX = 65_535;

/** Reads "127.0.0.1:8686", "[::1]:8686", "localhost:8686" or "unix:/path". Port 0 means any free one. Throws a StartError. */
export function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!path.startsWith("/") || path.endsWith("/")) {
      throw badAddress(
        text,
        "the path after unix: is not an absolute path of a file",
        'write "unix:/run/shipper/api.sock"',
      );
    }
    return { kind: "unix", path };
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(text);
  const port = match === null ? NaN : Number(match[3]);
  if (match === null || port > PORT_MAX) {
    throw badAddress(
      text,
      'expected "host:port" or "unix:/path"',
      'write "127.0.0.1:8686", "[::1]:8686" or "unix:/run/shipper/api.sock"',
    );
  }
  return { kind: "tcp", hostname: match[1] ?? match[2]!, port };
}

/** The form that `parseListenAddress` reads. */
export function formatTcpAddress(hostname: string, port: number): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

function badAddress(text: string, found: string, hint: string): StartError {
  return new StartError("bad-address", `Cannot read api.address "${text}": ${found}`, hint);
}
