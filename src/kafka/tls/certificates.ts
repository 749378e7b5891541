import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { DerError, inside, readDer, Tag } from "./der.ts";
import { Pkcs12Error, readPkcs12 } from "./pkcs12.ts";
import { tlsError, type TlsSource } from "./tls_file.ts";

const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;
/** Certificates of one file; Mozilla's bundle has some 150. */
const CERTIFICATES_MAX = 5_000;

/** A client's certificate and its key. */
export interface KeyPair {
  readonly key: KeyObject;
  /** The client's own first. */
  readonly chain: readonly X509Certificate[];
}

/** All certificates of a PEM or DER file, at least one. Throws ConnectError "tls-file-damaged", "tls-file-content". */
export function certificatesOf(source: TlsSource): X509Certificate[] {
  if (source.form === "pkcs12") {
    throw tlsError(
      "tls-file-form",
      `${source.name} is a PKCS#12 file, and authorities are taken from PEM or DER alone`,
      "Convert it: openssl pkcs12 -in FILE.p12 -nokeys -out FILE.pem",
    );
  }
  const found = source.form === "pem" ? pemBlocks(source) : derValues(source);
  const certificates = found.slice(0, CERTIFICATES_MAX).map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw tlsError(
        "tls-file-damaged",
        `certificate ${index + 1} in ${source.name} is damaged`,
        "Copy the file again, or export it again",
        error,
      );
    }
  });
  if (certificates.length > 0) return certificates;
  throw tlsError(
    "tls-file-content",
    `${source.name} holds no certificate${otherContent(source)}`,
    'Give a file with certificates: PEM ("-----BEGIN CERTIFICATE-----") or DER',
  );
}

function pemBlocks({ bytes }: TlsSource): string[] {
  const blocks: string[] = [];
  for (const [block, label] of bytes.toString("latin1").matchAll(PEM_BLOCK)) {
    if (/^(TRUSTED |X509 )?CERTIFICATE$/u.test(label!)) {
      blocks.push(block.replace(/(BEGIN|END) X509 /gu, "$1 "));
    }
  }
  return blocks;
}

/** Certificates one after the other. A certificate is a sequence that begins with a sequence, and a key does not. */
function derValues(source: TlsSource): Buffer[] {
  const values: Buffer[] = [];
  try {
    for (let at = 0; at < source.bytes.length && values.length < CERTIFICATES_MAX;) {
      const value = readDer(source.bytes, at);
      at += value.whole.length;
      const [first, , third] = inside(value);
      if (first?.tag === Tag.SEQUENCE && third?.tag === Tag.BIT_STRING) values.push(value.whole);
    }
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw tlsError(
      "tls-file-damaged",
      `${source.name} is damaged (${error.message})`,
      "Copy the file again, or export it again",
      error,
    );
  }
  return values;
}

/** ", only a private key": what was found instead. */
function otherContent(source: TlsSource): string {
  if (source.form === "der") return derKeyType(source.bytes) === null ? "" : ", only a private key";
  const labels = [...source.bytes.toString("latin1").matchAll(/-----BEGIN ([A-Z0-9 ]+)-----/gu)];
  const names = [...new Set(labels.map(([, label]) => label!.toLowerCase()))];
  if (names.includes("certificate")) return ': "-----END CERTIFICATE-----" is missing';
  return names.length === 0 ? "" : `, only: ${names.join(", ")}`;
}

/** Of a file with a certificate and a file with its key. Throws ConnectError "tls-key-...". */
export function readKeyPair(crt: TlsSource, key: TlsSource | null, keyPass: string | null): KeyPair {
  if (crt.form === "pkcs12") {
    if (key === null) return fromPkcs12(crt, keyPass);
    throw tlsError(
      "tls-key-twice",
      `${crt.name} is a PKCS#12 file, which holds a key, and ${key.name} is set as well`,
      "Remove tls.key_file",
    );
  }
  if (key === null) {
    throw tlsError(
      "tls-key-missing",
      `${crt.name} is set and tls.key_file is not`,
      "Set tls.key_file, or give a PKCS#12 file, which holds both",
    );
  }
  const chain = certificatesOf(crt);
  const privateKey = readKey(key, keyPass);
  if (chain[0]!.checkPrivateKey(privateKey)) return { key: privateKey, chain };
  throw tlsError(
    "tls-key-mismatch",
    `the key in ${key.name} does not belong to the first certificate of ${crt.name}`,
    "Give the key that the certificate was made for; the client's certificate comes first in a chain",
  );
}

function fromPkcs12(crt: TlsSource, keyPass: string | null): KeyPair {
  try {
    return readPkcs12(crt.bytes, keyPass ?? "");
  } catch (error) {
    if (!(error instanceof Pkcs12Error)) throw error;
    const { kind, message } = error;
    if (kind === "password") throw passwordError(crt.name, keyPass, error);
    if (kind === "damaged") {
      throw tlsError("tls-file-damaged", `${crt.name} ${message}`, "Copy the file again, or export it again");
    }
    throw tlsError(
      kind === "incomplete" ? "tls-file-content" : "tls-file-form",
      `${crt.name} ${message}`,
      "Export it again: openssl pkcs12 -export -in CERT.pem -inkey KEY.pem -out FILE.p12",
    );
  }
}

function passwordError(name: string, keyPass: string | null, cause: unknown): Error {
  return keyPass === null
    ? tlsError("tls-key-pass", `${name} is encrypted and tls.key_pass is not set`, "Set tls.key_pass", cause)
    : tlsError(
      "tls-key-pass",
      `${name} cannot be decrypted: tls.key_pass is not its pass phrase`,
      "Correct tls.key_pass",
      cause,
    );
}

function readKey(source: TlsSource, keyPass: string | null): KeyObject {
  const found = source.form === "pem" ? pemKey(source) : derKey(source);
  if (found === null) {
    throw tlsError(
      "tls-file-content",
      `${source.name} holds no private key`,
      'Give a file with a private key: PEM ("-----BEGIN PRIVATE KEY-----") or DER',
    );
  }
  if (found.isEncrypted && keyPass === null) throw passwordError(source.name, null, null);
  try {
    const passphrase = keyPass === null ? {} : { passphrase: keyPass };
    if (typeof found.key === "string") return createPrivateKey({ key: found.key, ...passphrase });
    return createPrivateKey({ key: found.key, format: "der", type: found.type, ...passphrase });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (/UNSUPPORTED|UNKNOWN/u.test(`${code} ${(error as Error).message}`)) {
      throw tlsError(
        "tls-file-form",
        `${source.name} holds a key of a kind that is not known here, or is encrypted in such a way`,
        "Convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.pem",
        error,
      );
    }
    if (found.isEncrypted) throw passwordError(source.name, keyPass, error);
    throw tlsError(
      "tls-file-damaged",
      `the private key in ${source.name} is damaged`,
      "Copy the file again, or export it again",
      error,
    );
  }
}

interface FoundKey {
  readonly key: string | Buffer;
  readonly type: "pkcs8" | "pkcs1" | "sec1";
  readonly isEncrypted: boolean;
}

/** The first one; certificates and parameters may stand beside it. */
function pemKey({ bytes }: TlsSource): FoundKey | null {
  for (const [block, label] of bytes.toString("latin1").matchAll(PEM_BLOCK)) {
    if (!label!.endsWith("PRIVATE KEY")) continue;
    const isEncrypted = label === "ENCRYPTED PRIVATE KEY" || block.includes("Proc-Type: 4,ENCRYPTED");
    return { key: block, type: "pkcs8", isEncrypted };
  }
  return null;
}

function derKey({ bytes }: TlsSource): FoundKey | null {
  const found = derKeyType(bytes);
  return found === null ? null : { ...found, key: bytes };
}

/**
 *     PKCS#8 (RFC 5958)    SEQUENCE { INTEGER, SEQUENCE, OCTET STRING ... }
 *     encrypted            SEQUENCE { SEQUENCE, OCTET STRING }
 *     PKCS#1 (RFC 8017)    SEQUENCE { INTEGER, INTEGER, ... }
 *     SEC1 (RFC 5915)      SEQUENCE { INTEGER, OCTET STRING, ... }
 */
function derKeyType(bytes: Buffer): Omit<FoundKey, "key"> | null {
  let tags: number[];
  try {
    tags = inside(readDer(bytes)).map((each) => each.tag);
  } catch (error) {
    if (error instanceof DerError) return null;
    throw error;
  }
  const [first, second] = tags;
  if (first === Tag.SEQUENCE && second === Tag.OCTET_STRING) return { type: "pkcs8", isEncrypted: true };
  if (first !== Tag.INTEGER) return null;
  if (second === Tag.SEQUENCE) return { type: "pkcs8", isEncrypted: false };
  if (second === Tag.INTEGER) return { type: "pkcs1", isEncrypted: false };
  return second === Tag.OCTET_STRING ? { type: "sec1", isEncrypted: false } : null;
}
