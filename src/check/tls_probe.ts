import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { connect, type DetailedPeerCertificate } from "node:tls";
import type { TlsConfig } from "../config/config_security.ts";
import { loadTls } from "../kafka/security.ts";

/** Certificates of one chain that are looked at. */
const CHAIN_MAX = 10;

/** What a broker shows in a TLS handshake, whether it is to be trusted or not. */
export interface TlsProbe {
  /** "TLSv1.3"; null when no handshake came about. */
  readonly protocol: string | null;
  /** The broker's own certificate first, then those that signed it, as far as it sends them. */
  readonly chain: readonly X509Certificate[];
}

const NOTHING: TlsProbe = { protocol: null, chain: [] };

/** One handshake that is broken off behind it. The trust is judged where a sink connects; this one is for what certificates say. Never rejects. */
export async function probeTls(
  tls: TlsConfig,
  host: string,
  port: number,
  timeoutMs: number,
): Promise<TlsProbe> {
  let options;
  try {
    options = (await loadTls(tls)).options;
  } catch {
    return NOTHING; // the connection itself tells it
  }
  const name = isIP(host) === 0 ? { servername: host } : {};
  return await new Promise((resolve) => {
    const socket = connect({ ...name, ...options, rejectUnauthorized: false, host, port });
    const end = (probe: TlsProbe) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(probe);
    };
    const timer = setTimeout(() => end(NOTHING), timeoutMs);
    socket.on("secureConnect", () => {
      end({ protocol: socket.getProtocol(), chain: chainOf(socket.getPeerCertificate(true)) });
    });
    socket.on("error", () => end(NOTHING));
    socket.on("close", () => end(NOTHING));
  });
}

function chainOf(leaf: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<string>();
  let at: DetailedPeerCertificate | undefined = leaf;
  while (at?.raw !== undefined && chain.length < CHAIN_MAX) {
    const certificate = new X509Certificate(at.raw);
    if (seen.has(certificate.fingerprint256)) break;
    seen.add(certificate.fingerprint256);
    chain.push(certificate);
    at = at.issuerCertificate;
  }
  return chain;
}
