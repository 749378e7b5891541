import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import type { ConnectionOptions } from "node:tls";
import type { TlsConfig } from "../config/config.ts";
import { ConnectError } from "./errors.ts";

/** Larger than any real bundle of certificates (Mozilla's has 0.3 MB). */
const PEM_BYTES_MAX = 4 * 1024 * 1024;
const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;

/**
 * Options for `tls.connect`. Files are read at each call, so that a renewed certificate is used from the next connection on. Rejects
 * with ConnectError "tls-config" naming the option and what was found; the peer's host is not looked at here.
 */
export async function tlsOptions(tls: TlsConfig): Promise<ConnectionOptions> {
  const ca = tls.ca === null ? null : await readPem(tls.ca, "ca_file");
  const crt = tls.crt === null ? null : await readPem(tls.crt, "crt_file");
  const key = tls.key === null ? null : await readPem(tls.key, "key_file");
  if (ca !== null) parseCertificates(ca);
  if ((crt === null) !== (key === null)) {
    const [set, missing] = crt === null ? ["key_file", "crt_file"] : ["crt_file", "key_file"];
    throw configError(`tls.${set} is set and tls.${missing} is not`, `Set both, or neither`, null);
  }
  if (crt !== null && key !== null) checkPair(crt, key, tls.keyPass);
  return {
    ...(ca === null ? {} : { ca: ca.text }),
    ...(crt === null ? {} : { cert: crt.text }),
    ...(key === null ? {} : { key: key.text }),
    ...(key === null || tls.keyPass === null ? {} : { passphrase: tls.keyPass }),
    ...(tls.serverName === null ? {} : { servername: tls.serverName }),
    ...(tls.verifyHostname ? {} : { checkServerIdentity: () => undefined }),
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
  };
}

interface PemSource {
  readonly option: string;
  /** For messages: the path, or "the inline text". */
  readonly where: string;
  readonly text: string;
}

async function readPem(pathOrText: string, option: string): Promise<PemSource> {
  if (pathOrText.includes("-----BEGIN ")) return { option, where: "the inline text", text: pathOrText };
  const where = `"${pathOrText}"`;
  let text: string;
  try {
    // A FIFO or a device would hold a thread of the pool for ever.
    const found = await stat(pathOrText);
    if (!found.isFile()) {
      throw configError(`tls.${option} ${where} is not a regular file`, "Give the path of a PEM file", null);
    }
    if (found.size > PEM_BYTES_MAX) {
      const limit = `${PEM_BYTES_MAX / 1024 / 1024} MB`;
      throw configError(
        `tls.${option} ${where} is larger than ${limit}`,
        "Give the path of a PEM file",
        null,
      );
    }
    text = await readFile(pathOrText, "latin1");
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    const hint = code === "EACCES"
      ? "Give the user that runs shipper the right to read it"
      : "Correct the path in the configuration";
    throw configError(`tls.${option} ${where} cannot be read (${code})`, hint, error);
  }
  if (!text.includes("-----BEGIN ")) {
    throw configError(
      `tls.${option} ${where} holds no PEM block ("-----BEGIN ...")`,
      "Convert it: openssl x509 -inform DER -in FILE -out FILE.pem, or openssl pkcs12 -in FILE.p12 -out FILE.pem -nodes",
      null,
    );
  }
  return { option, where, text };
}

function parseCertificates(pem: PemSource): X509Certificate[] {
  const certificates: X509Certificate[] = [];
  for (const [block, label] of pem.text.matchAll(PEM_BLOCK)) {
    if (label !== "CERTIFICATE" && label !== "TRUSTED CERTIFICATE") continue;
    try {
      certificates.push(new X509Certificate(block));
    } catch (error) {
      throw configError(
        `tls.${pem.option} ${pem.where}: certificate ${certificates.length + 1} in it is damaged`,
        "Copy the file again, or export it again",
        error,
      );
    }
  }
  if (certificates.length === 0) {
    throw configError(
      `tls.${pem.option} ${pem.where} holds no certificate`,
      `Give a PEM file with "-----BEGIN CERTIFICATE-----"`,
      null,
    );
  }
  return certificates;
}

function checkPair(crt: PemSource, key: PemSource, keyPass: string | null): void {
  const [leaf] = parseCertificates(crt);
  const privateKey = parseKey(key, keyPass);
  if (!leaf!.checkPrivateKey(privateKey)) {
    throw configError(
      `tls.key_file ${key.where} does not belong to the first certificate of tls.crt_file ${crt.where}`,
      "Give the key that the certificate was made for; the client's certificate comes first in a chain",
      null,
    );
  }
}

function parseKey(key: PemSource, keyPass: string | null): KeyObject {
  const encrypted = key.text.includes("ENCRYPTED");
  if (encrypted && keyPass === null) {
    throw configError(
      `tls.key_file ${key.where} is encrypted and tls.key_pass is not set`,
      "Set tls.key_pass",
      null,
    );
  }
  try {
    return createPrivateKey({ key: key.text, ...(keyPass === null ? {} : { passphrase: keyPass }) });
  } catch (error) {
    if (encrypted) {
      throw configError(`tls.key_file ${key.where} cannot be decrypted`, "Correct tls.key_pass", error);
    }
    throw configError(
      `tls.key_file ${key.where} holds no usable private key`,
      `Give a PEM file with "-----BEGIN PRIVATE KEY-----"`,
      error,
    );
  }
}

function configError(state: string, hint: string, cause: unknown): ConnectError {
  return new ConnectError("tls-config", `Cannot set up TLS: ${state}`, { hint, cause: cause ?? undefined });
}
