import { readFile, stat } from "node:fs/promises";
import { ConnectError } from "../errors.ts";
import { DerError, inside, readDer, Tag } from "./der.ts";

/** Larger than any real bundle of certificates (Mozilla's has 0.3 MB). */
const FILE_BYTES_MAX = 4 * 1024 * 1024;
const PEM_START = "-----BEGIN ";

/** What was given for one option of TLS. */
export interface TlsSource {
  /** For messages: `tls.ca_file "/path"`, or `tls.ca_file (the inline text)`. */
  readonly name: string;
  readonly bytes: Buffer;
  readonly form: "pem" | "der" | "pkcs12";
}

/** What is wrong with the options of TLS or their files. `state` goes after "Cannot set up TLS: ". */
export function tlsError(code: string, state: string, hint: string, cause?: unknown): ConnectError {
  return new ConnectError(code, `Cannot set up TLS: ${state}`, { hint, cause });
}

/** Reads a file, or takes the text itself. Rejects with ConnectError: "tls-file-unreadable", "tls-file-form". */
export async function readTlsSource(pathOrText: string, option: string): Promise<TlsSource> {
  if (pathOrText.includes(PEM_START)) {
    return { name: `${option} (the inline text)`, bytes: Buffer.from(pathOrText), form: "pem" };
  }
  const name = `${option} ${JSON.stringify(pathOrText)}`;
  const bytes = await readWhole(pathOrText, name);
  return { name, bytes, form: formOf(bytes, name) };
}

async function readWhole(path: string, name: string): Promise<Buffer> {
  try {
    // A FIFO or a device would hold a thread of the pool for ever.
    const found = await stat(path);
    if (!found.isFile()) {
      throw tlsError("tls-file-unreadable", `${name} is not a regular file`, "Give the path of a file");
    }
    if (found.size > FILE_BYTES_MAX) {
      const limit = `${FILE_BYTES_MAX / 1024 / 1024} MiB`;
      const hint = "Give the path of a file with certificates or a key";
      throw tlsError("tls-file-unreadable", `${name} is larger than ${limit}`, hint);
    }
    return await readFile(path);
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    const hint = code === "EACCES"
      ? "Give the user that runs shipper the right to read it"
      : "Correct the path in the configuration";
    throw tlsError("tls-file-unreadable", `${name} cannot be read (${code})`, hint, error);
  }
}

/** By what is in it: names of files say little. */
function formOf(bytes: Buffer, name: string): TlsSource["form"] {
  if (bytes.includes(PEM_START)) return "pem";
  if (bytes.length === 0) {
    throw tlsError("tls-file-form", `${name} is empty`, "Copy the file again");
  }
  const magic = bytes.length < 4 ? 0 : bytes.readUInt32BE(0);
  if (magic === 0xfeedfeed || magic === 0xcececece) {
    throw tlsError(
      "tls-file-form",
      `${name} is a Java keystore (JKS)`,
      "Convert it: keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 -deststoretype PKCS12",
    );
  }
  if (bytes[0] !== Tag.SEQUENCE) {
    throw tlsError(
      "tls-file-form",
      `${name} is neither PEM ("-----BEGIN ...") nor DER nor PKCS#12`,
      "Give a file with certificates or a key; openssl x509 -in FILE -text shows what is in one",
    );
  }
  return isPkcs12(bytes) ? "pkcs12" : "der";
}

/** The version in front, which is 3, and a sequence tell it from a certificate and from a key. */
function isPkcs12(bytes: Buffer): boolean {
  try {
    const values = inside(readDer(bytes));
    return values[0]?.tag === Tag.INTEGER && values[1]?.tag === Tag.SEQUENCE && values[0].content[0] === 3;
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    // One that was cut: length in two bytes, version, sequence.
    return bytes.subarray(0, 8).includes(Buffer.from([Tag.INTEGER, 1, 3, Tag.SEQUENCE]));
  }
}
