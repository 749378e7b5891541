import { createHmac, createPrivateKey, type KeyObject, timingSafeEqual, X509Certificate } from "node:crypto";
import { DerError, type DerValue, inside, objectId, octets, readDer, smallInteger, Tag } from "./der.ts";
import { decryptPbe, isPbeFailure, MAC_HASHES, pkcs12Key, UnsupportedPbe } from "./pbe.ts";

/**
 * Reads PKCS#12 (RFC 7292), as openssl, keytool and Windows write it. Bun's tls takes such a file (`pfx`), but trusts the authorities in it
 * beside those of tls.ca_file, and has one message for a wrong password, a cut file and no PKCS#12 at all. node-forge reads no EC keys. So
 * this is own code over the ciphers of node:crypto.
 *
 *     PFX: version 3, authSafe: data(SEQUENCE OF ContentInfo), mac over that
 *     ContentInfo: data(SafeContents) | encryptedData(SafeContents)
 *     SafeContents: SEQUENCE OF bag: key, encrypted key, certificate, SafeContents
 */
export interface Pkcs12Content {
  readonly key: KeyObject;
  /** The key's certificate, then those that it was issued by, as far as they are in the file. */
  readonly chain: readonly X509Certificate[];
}

export class Pkcs12Error extends Error {
  override readonly name = "Pkcs12Error";
  readonly kind: "damaged" | "password" | "unsupported" | "incomplete";

  /** `message` goes after 'tls.crt_file "..." '. */
  constructor(kind: Pkcs12Error["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

const DATA = "1.2.840.113549.1.7.1";
const ENCRYPTED_DATA = "1.2.840.113549.1.7.6";
const BAGS = "1.2.840.113549.1.12.10.1.";
const X509_CERTIFICATE = "1.2.840.113549.1.9.22.1";
const PBMAC1 = "1.2.840.113549.1.5.14";
const NESTING_MAX = 4;

interface Found {
  readonly keys: Buffer[];
  readonly certificates: X509Certificate[];
}

/** Throws Pkcs12Error. An empty password and none are the same. */
export function readPkcs12(bytes: Buffer, password: string): Pkcs12Content {
  try {
    const [version, authSafe, mac] = inside(readDer(bytes));
    if (smallInteger(version) !== 3) throw new DerError("a version other than 3");
    const content = dataOf(authSafe);
    if (mac !== undefined) checkMac(mac, content, password);
    const found: Found = { keys: [], certificates: [] };
    for (const info of inside(readDer(content))) readContentInfo(info, password, found);
    return choose(found);
  } catch (error) {
    if (error instanceof Pkcs12Error) throw error;
    if (error instanceof UnsupportedPbe) throw new Pkcs12Error("unsupported", error.message);
    if (isPbeFailure(error)) throw new Pkcs12Error("password", "cannot be decrypted");
    if (error instanceof DerError) {
      throw new Pkcs12Error("damaged", `is a damaged PKCS#12 file (${error.message})`);
    }
    throw error;
  }
}

/** The content of a ContentInfo of kind "data". */
function dataOf(info: DerValue | undefined): Buffer {
  const [type, content] = inside(info);
  if (objectId(type) !== DATA) {
    throw new Pkcs12Error(
      "unsupported",
      "is a PKCS#12 file that is signed with a certificate, not a password",
    );
  }
  return octets(inside(content, Tag.CONTEXT_0)[0]);
}

function checkMac(mac: DerValue, content: Buffer, password: string): void {
  const [digestInfo, salt, iterations] = inside(mac);
  const [algorithm, digest] = inside(digestInfo);
  const id = objectId(inside(algorithm)[0]);
  const hash = MAC_HASHES[id];
  if (hash === undefined) {
    const name = id === PBMAC1 ? "PBMAC1" : id;
    throw new Pkcs12Error(
      "unsupported",
      `is a PKCS#12 file with a checksum that is not known here (${name})`,
    );
  }
  const rounds = iterations === undefined ? 1 : smallInteger(iterations);
  const expected = octets(digest);
  const isRight = passwordsOf(password).some((each) => {
    const key = pkcs12Key(each, octets(salt), 3, rounds, hash.bytes, hash);
    const found = createHmac(hash.name, key).update(content).digest();
    return found.length === expected.length && timingSafeEqual(found, expected);
  });
  if (!isRight) throw new Pkcs12Error("password", "cannot be decrypted");
}

/** Without a password some programs write an empty text, and some nothing at all. */
function passwordsOf(password: string): (string | null)[] {
  return password === "" ? ["", null] : [password];
}

function readContentInfo(info: DerValue, password: string, found: Found): void {
  const [type, content] = inside(info);
  if (objectId(type) !== ENCRYPTED_DATA) return readSafeContents(dataOf(info), password, found);
  const [, encrypted] = inside(inside(content, Tag.CONTEXT_0)[0]);
  const [, algorithm, bytes] = inside(encrypted);
  const plain = decrypt(algorithm, octets(bytes, Tag.CONTEXT_0), password);
  readSafeContents(plain, password, found);
}

function decrypt(algorithm: DerValue | undefined, bytes: Buffer, password: string): Buffer {
  for (const each of passwordsOf(password)) {
    try {
      const plain = decryptPbe(algorithm, bytes, each);
      // Padding is right by chance once in 256 times: what comes out has to be a sequence as well.
      inside(readDer(plain));
      return plain;
    } catch (error) {
      if (!isPbeFailure(error) && !(error instanceof DerError)) throw error;
    }
  }
  throw new Pkcs12Error("password", "cannot be decrypted");
}

function readSafeContents(bytes: Buffer, password: string, found: Found, depth = 0): void {
  if (depth > NESTING_MAX) throw new DerError("bags are nested too deeply");
  for (const bag of inside(readDer(bytes))) {
    const [type, wrapped] = inside(bag);
    const [value] = inside(wrapped, Tag.CONTEXT_0);
    switch (objectId(type)) {
      case `${BAGS}1`:
        found.keys.push(value!.whole);
        break;
      case `${BAGS}2`: {
        const [algorithm, encrypted] = inside(value);
        found.keys.push(decrypt(algorithm, octets(encrypted), password));
        break;
      }
      case `${BAGS}3`: {
        const [kind, certificate] = inside(value);
        if (objectId(kind) !== X509_CERTIFICATE) break;
        found.certificates.push(parseCertificate(octets(inside(certificate, Tag.CONTEXT_0)[0])));
        break;
      }
      case `${BAGS}6`:
        readSafeContents(value!.whole, password, found, depth + 1);
        break;
    }
  }
}

function parseCertificate(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch {
    throw new DerError("a certificate in it is none");
  }
}

/** The first key that has a certificate; the others of the file are for others. */
function choose({ keys, certificates }: Found): Pkcs12Content {
  if (keys.length === 0) throw new Pkcs12Error("incomplete", "is a PKCS#12 file without a private key");
  for (const der of keys) {
    let key: KeyObject;
    try {
      key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    } catch {
      throw new DerError("the private key in it is none");
    }
    const leaf = certificates.find((each) => each.checkPrivateKey(key));
    if (leaf !== undefined) return { key, chain: chainOf(leaf, certificates) };
  }
  throw new Pkcs12Error("incomplete", "is a PKCS#12 file without a certificate for its private key");
}

function chainOf(leaf: X509Certificate, certificates: readonly X509Certificate[]): X509Certificate[] {
  const chain = [leaf];
  for (;;) {
    const last = chain.at(-1)!;
    const issuer = certificates.find((each) => !chain.includes(each) && last.checkIssued(each));
    if (issuer === undefined) return chain;
    chain.push(issuer);
  }
}
