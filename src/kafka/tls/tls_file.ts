import { readConfiguredFile } from "../configured_file.ts";
import { ConnectError } from "../errors.ts";
import { DerError, inside, readDer, Tag } from "./der.ts";

/** Larger than any real bundle of certificates (Mozilla's has 0.3 MB). */
const FILE_LIMIT = {
  bytesMax: 4 * 1024 * 1024,
  text: "4 MiB",
  hint: "Give the path of a file with certificates or a key",
};
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
  const problem = (state: string, hint: string, cause?: unknown) =>
    tlsError("tls-file-unreadable", state, hint, cause);
  const bytes = await readConfiguredFile(pathOrText, name, FILE_LIMIT, problem);
  return { name, bytes, form: formOf(bytes, name) };
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
