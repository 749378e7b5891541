import { createDecipheriv, createHash, pbkdf2Sync } from "node:crypto";
import { DerError, type DerValue, inside, objectId, octets, smallInteger } from "./der.ts";

/** Decryption with a password, as in PKCS#12 files: PBES2 (RFC 8018) and the older ones of RFC 7292, appendix C. */

/** A cipher or hash that is not known here. `message` goes after 'tls.crt_file "..." '. */
export class UnsupportedPbe extends Error {
  override readonly name = "UnsupportedPbe";
}

export interface HashFacts {
  readonly name: string;
  readonly bytes: number;
  readonly blockBytes: number;
}

const SHA1: HashFacts = { name: "sha1", bytes: 20, blockBytes: 64 };

/** By object id: what a PKCS#12 file's checksum is made with. */
export const MAC_HASHES: Readonly<Record<string, HashFacts>> = {
  "1.3.14.3.2.26": SHA1,
  "2.16.840.1.101.3.4.2.1": { name: "sha256", bytes: 32, blockBytes: 64 },
  "2.16.840.1.101.3.4.2.2": { name: "sha384", bytes: 48, blockBytes: 128 },
  "2.16.840.1.101.3.4.2.3": { name: "sha512", bytes: 64, blockBytes: 128 },
};

const PBES2 = "1.2.840.113549.1.5.13";
const PBKDF2 = "1.2.840.113549.1.5.12";

const PRFS: Readonly<Record<string, string>> = {
  "1.2.840.113549.2.7": "sha1",
  "1.2.840.113549.2.8": "sha224",
  "1.2.840.113549.2.9": "sha256",
  "1.2.840.113549.2.10": "sha384",
  "1.2.840.113549.2.11": "sha512",
};

interface Cipher {
  readonly name: string;
  readonly keyBytes: number;
  readonly ivBytes: number;
}

const CIPHERS: Readonly<Record<string, Cipher>> = {
  "2.16.840.1.101.3.4.1.2": { name: "aes-128-cbc", keyBytes: 16, ivBytes: 16 },
  "2.16.840.1.101.3.4.1.22": { name: "aes-192-cbc", keyBytes: 24, ivBytes: 16 },
  "2.16.840.1.101.3.4.1.42": { name: "aes-256-cbc", keyBytes: 32, ivBytes: 16 },
  "1.2.840.113549.3.7": { name: "des-ede3-cbc", keyBytes: 24, ivBytes: 8 },
};

/** SHA-1 and the key derivation of PKCS#12. The names are OpenSSL's; the last two were weak when they were made, and are common. */
const OLD_CIPHERS: Readonly<Record<string, Cipher>> = {
  "1.2.840.113549.1.12.1.3": { name: "des-ede3-cbc", keyBytes: 24, ivBytes: 8 },
  "1.2.840.113549.1.12.1.5": { name: "rc2-cbc", keyBytes: 16, ivBytes: 8 },
  "1.2.840.113549.1.12.1.6": { name: "rc2-40-cbc", keyBytes: 5, ivBytes: 8 },
};

/** Far more than any program asks for (keytool: 10,000); a damaged file must not hold the process for minutes. */
const ROUNDS_MAX = 2_000_000;

/** A password that does not fit ends in wrong padding. */
export function isPbeFailure(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return typeof code === "string" && /^ERR_OSSL_|^ERR_CRYPTO_/u.test(code);
}

/** Throws what `isPbeFailure` knows when the password is wrong, DerError and UnsupportedPbe otherwise. Null: no password at all. */
export function decryptPbe(
  algorithm: DerValue | undefined,
  bytes: Buffer,
  password: string | null,
): Buffer {
  const [id, parameters] = inside(algorithm);
  const name = objectId(id);
  const { cipher, key, iv } = name === PBES2
    ? pbes2(parameters, password)
    : oldScheme(name, parameters, password);
  if (iv.length !== cipher.ivBytes) throw new DerError("an initial vector of a wrong length");
  const decipher = createDecipheriv(cipher.name, key, iv);
  return Buffer.concat([decipher.update(bytes), decipher.final()]);
}

interface Decryption {
  readonly cipher: Cipher;
  readonly key: Buffer;
  readonly iv: Buffer;
}

function pbes2(parameters: DerValue | undefined, password: string | null): Decryption {
  const [kdf, scheme] = inside(parameters);
  const [kdfId, kdfParameters] = inside(kdf);
  if (objectId(kdfId) !== PBKDF2) throw unknown("key derivation", objectId(kdfId));
  const [salt, iterations, ...rest] = inside(kdfParameters);
  const prfAt = rest.find((each) => each.tag === 0x30);
  const prfId = prfAt === undefined ? "1.2.840.113549.2.7" : objectId(inside(prfAt)[0]);
  const prf = PRFS[prfId];
  if (prf === undefined) throw unknown("key derivation", prfId);
  const [cipherId, iv] = inside(scheme);
  const cipher = CIPHERS[objectId(cipherId)];
  if (cipher === undefined) throw unknown("cipher", objectId(cipherId));
  const key = pbkdf2Sync(password ?? "", octets(salt), rounds(iterations), cipher.keyBytes, prf);
  return { cipher, key, iv: octets(iv) };
}

function oldScheme(id: string, parameters: DerValue | undefined, password: string | null): Decryption {
  const cipher = OLD_CIPHERS[id];
  if (cipher === undefined) throw unknown("cipher", id);
  const [salt, iterations] = inside(parameters);
  const derive = (purpose: 1 | 2, bytes: number) =>
    pkcs12Key(password, octets(salt), purpose, rounds(iterations), bytes, SHA1);
  return { cipher, key: derive(1, cipher.keyBytes), iv: derive(2, cipher.ivBytes) };
}

function rounds(value: DerValue | undefined): number {
  const count = smallInteger(value);
  if (count < 1 || count > ROUNDS_MAX) throw new DerError(`${count} rounds of key derivation`);
  return count;
}

function unknown(what: string, id: string): UnsupportedPbe {
  return new UnsupportedPbe(`is encrypted with a ${what} that is not known here (${id})`);
}

/** RFC 7292, appendix B.2. `purpose`: 1 key, 2 initial vector, 3 checksum. A null password has no bytes, not even those that end a text. */
export function pkcs12Key(
  password: string | null,
  salt: Buffer,
  purpose: 1 | 2 | 3,
  roundCount: number,
  bytesCount: number,
  hash: HashFacts,
): Buffer {
  if (roundCount < 1 || roundCount > ROUNDS_MAX) throw new DerError(`${roundCount} rounds of key derivation`);
  const { name, blockBytes } = hash;
  const text = password === null ? Buffer.alloc(0) : Buffer.from(`${password}\0`, "utf16le").swap16();
  const diversifier = Buffer.alloc(blockBytes, purpose);
  const input = Buffer.concat([repeated(salt, blockBytes), repeated(text, blockBytes)]);
  const parts: Buffer[] = [];
  for (let length = 0; length < bytesCount; length += hash.bytes) {
    let digest = createHash(name).update(diversifier).update(input).digest();
    for (let round = 1; round < roundCount; round++) digest = createHash(name).update(digest).digest();
    parts.push(digest);
    const addend = repeated(digest, blockBytes).subarray(0, blockBytes);
    for (let at = 0; at < input.length; at += blockBytes) addOne(input.subarray(at, at + blockBytes), addend);
  }
  return Buffer.concat(parts).subarray(0, bytesCount);
}

/** Repeated up to a multiple of the block; nothing stays nothing. */
function repeated(bytes: Buffer, blockBytes: number): Buffer {
  if (bytes.length === 0) return Buffer.alloc(0);
  return Buffer.alloc(Math.ceil(bytes.length / blockBytes) * blockBytes, bytes);
}

/** block = block + addend + 1, as numbers of that many bytes. */
function addOne(block: Buffer, addend: Buffer): void {
  let carry = 1;
  for (let at = block.length - 1; at >= 0; at--) {
    const sum = block[at]! + addend[at]! + carry;
    block[at] = sum & 0xff;
    carry = sum >> 8;
  }
}
