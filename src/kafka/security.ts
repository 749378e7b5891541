import { createHash } from "node:crypto";
import type { ConnectionOptions } from "node:tls";
import type { TlsConfig } from "../config/config_security.ts";
import { certificatesOf, type KeyPair, readKeyPair } from "./tls/certificates.ts";
import { seen, type SeenCertificate } from "./tls/seen_certificate.ts";
import { readTlsSource, tlsError, type TlsSource } from "./tls/tls_file.ts";

export interface TlsMaterial {
  /** For `tls.connect`. */
  readonly options: ConnectionOptions;
  /** Those of tls.ca_file and the client's own. */
  readonly certificates: readonly SeenCertificate[];
}

interface Remembered {
  readonly digest: string;
  readonly material: TlsMaterial;
}

/** By configuration: what was made of its files last. Deriving keys from pass phrases takes milliseconds. */
const remembered = new WeakMap<TlsConfig, Remembered>();

/**
 * What TLS needs. Files are read at each call, so that a renewed certificate is used from the next connection on. Rejects with
 * ConnectError "tls-..." naming the option and what was found; the peer's host is not looked at here.
 */
export async function loadTls(tls: TlsConfig): Promise<TlsMaterial> {
  const ca = tls.ca === null ? null : await readTlsSource(tls.ca, "tls.ca_file");
  const crt = tls.crt === null ? null : await readTlsSource(tls.crt, "tls.crt_file");
  const key = tls.key === null ? null : await readTlsSource(tls.key, "tls.key_file");
  const digest = digestOf([ca, crt, key]);
  const known = remembered.get(tls);
  if (known?.digest === digest) return known.material;
  const material = makeMaterial(tls, ca, crt, key);
  remembered.set(tls, { digest, material });
  return material;
}

function digestOf(sources: readonly (TlsSource | null)[]): string {
  const hash = createHash("sha256");
  for (const source of sources) hash.update(`${source?.bytes.length ?? "none"}:`).update(source?.bytes ?? "");
  return hash.digest("hex");
}

function makeMaterial(
  tls: TlsConfig,
  ca: TlsSource | null,
  crt: TlsSource | null,
  key: TlsSource | null,
): TlsMaterial {
  const authorities = ca === null ? null : certificatesOf(ca);
  if (crt === null && key !== null) {
    throw tlsError(
      "tls-key-missing",
      `${key.name} is set and tls.crt_file is not`,
      "Set tls.crt_file, or remove tls.key_file",
    );
  }
  const pair = crt === null ? null : readKeyPair(crt, key, tls.keyPass);
  return {
    options: {
      ...(authorities === null ? {} : { ca: authorities.map(String) }),
      ...(pair === null ? {} : clientOptions(pair)),
      ...(tls.serverName === null ? {} : { servername: tls.serverName }),
      ...(tls.verifyHostname ? {} : { checkServerIdentity: () => undefined }),
      rejectUnauthorized: true,
      minVersion: "TLSv1.2",
    },
    certificates: [
      ...(authorities ?? []).map((each) => seen(each, "ca")),
      ...(pair === null ? [] : [seen(pair.chain[0]!, "client")]),
    ],
  };
}

function clientOptions({ key, chain }: KeyPair): ConnectionOptions {
  return {
    cert: chain.map(String).join(""),
    key: key.export({ type: "pkcs8", format: "pem" }),
  };
}
