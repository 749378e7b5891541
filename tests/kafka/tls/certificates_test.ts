import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { type Certificates, makeCertificates } from "../../../scripts/lib/kafka_certificates.ts";
import { runCommand } from "../../../scripts/lib/run_command.ts";
import type { TlsConfig } from "../../../src/config/config_security.ts";
import { ConnectError } from "../../../src/kafka/errors.ts";
import { loadTls } from "../../../src/kafka/security.ts";
import { type TempDir, tempDir } from "../../support/temp_dir.ts";

// What is said of files that cannot be used, word by word; that good ones can is tried with a broker (tests/integration/tls_forms_test.ts).

let dir: TempDir;
let files: Certificates;
beforeAll(async () => {
  dir = tempDir("tls");
  files = await makeCertificates(dir.path);
  const pem = readFileSync(files.clientCert, "utf8");
  const write = (name: string, content: string | Buffer) => writeFileSync(dir.file(name), content);
  write("garbage", Buffer.from(Array.from({ length: 900 }, (_, i) => (i * 197 + 5) % 251)));
  write("empty", "");
  write("text", "certificates are elsewhere\n");
  write("damaged.crt", pem.replace(/\n.{8}/u, "\nAAAAAAAA"));
  write("second_damaged.crt", pem + pem.replace(/\n.{8}/u, "\nAAAAAAAA"));
  write("cut.crt", pem.slice(0, 300));
  write("cut.der", readFileSync(files.clientCertDer).subarray(0, 200));
  write("cut.p12", readFileSync(files.clientP12).subarray(0, 600));
  write("store.jks", Buffer.from([0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]));
  write("damaged.key", readFileSync(files.clientKey, "utf8").replace(/\n.{8}/u, "\nAAAAAAAA"));
  const store = ["pkcs12", "-export", "-in", files.clientCert];
  await runCommand("openssl", [...store, "-nokeys", "-out", dir.file("no_key.p12"), "-passout", "pass:p"]);
});
afterAll(() => dir.remove());

async function wordsOf(overrides: Partial<TlsConfig>): Promise<string[]> {
  const none = { ca: null, crt: null, key: null, keyPass: null, verifyHostname: true, serverName: null };
  try {
    await loadTls({ ...none, ...overrides });
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    expect(error.message).toStartWith("Cannot set up TLS: ");
    const state = error.message.slice("Cannot set up TLS: ".length).replaceAll(dir.path, "DIR");
    return [error.code, state, error.hint!];
  }
  throw new Error("They can be used");
}

const COPY_AGAIN = "Copy the file again, or export it again";
const CERTIFICATES = 'Give a file with certificates: PEM ("-----BEGIN CERTIFICATE-----") or DER';
const KEYS = 'Give a file with a private key: PEM ("-----BEGIN PRIVATE KEY-----") or DER';

describe("files that cannot be used, in words", () => {
  const at = (name: string) => dir.file(name);
  const pair = (overrides: Partial<TlsConfig>) => ({
    crt: files.clientCert,
    key: files.clientKey,
    ...overrides,
  });
  const cases: [string, () => Partial<TlsConfig>, ...string[]][] = [
    [
      "not there",
      () => ({ ca: "/nope" }),
      "tls-file-unreadable",
      'tls.ca_file "/nope" cannot be read (ENOENT)',
      "Correct the path in the configuration",
    ],
    [
      "a folder",
      () => ({ ca: "/" }),
      "tls-file-unreadable",
      'tls.ca_file "/" is not a regular file',
      "Give the path of a file",
    ],
    [
      "garbage",
      () => ({ ca: at("garbage") }),
      "tls-file-form",
      'tls.ca_file "DIR/garbage" is neither PEM ("-----BEGIN ...") nor DER nor PKCS#12',
      "Give a file with certificates or a key; openssl x509 -in FILE -text shows what is in one",
    ],
    [
      "text",
      () => ({ crt: at("text"), key: files.clientKey }),
      "tls-file-form",
      'tls.crt_file "DIR/text" is neither PEM ("-----BEGIN ...") nor DER nor PKCS#12',
      "Give a file with certificates or a key; openssl x509 -in FILE -text shows what is in one",
    ],
    [
      "empty",
      () => ({ ca: at("empty") }),
      "tls-file-form",
      'tls.ca_file "DIR/empty" is empty',
      "Copy the file again",
    ],
    [
      "a Java keystore",
      () => ({ crt: at("store.jks") }),
      "tls-file-form",
      'tls.crt_file "DIR/store.jks" is a Java keystore (JKS)',
      "Convert it: keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 -deststoretype PKCS12",
    ],
    [
      "authorities as PKCS#12",
      () => ({ ca: files.clientP12 }),
      "tls-file-form",
      'tls.ca_file "DIR/client.p12" is a PKCS#12 file, and authorities are taken from PEM or DER alone',
      "Convert it: openssl pkcs12 -in FILE.p12 -nokeys -out FILE.pem",
    ],
    [
      "a damaged certificate",
      () => ({ ca: at("damaged.crt") }),
      "tls-file-damaged",
      'certificate 1 in tls.ca_file "DIR/damaged.crt" is damaged',
      COPY_AGAIN,
    ],
    [
      "a chain with a damaged one",
      () => pair({ crt: at("second_damaged.crt") }),
      "tls-file-damaged",
      'certificate 2 in tls.crt_file "DIR/second_damaged.crt" is damaged',
      COPY_AGAIN,
    ],
    [
      "a cut PEM file",
      () => ({ ca: at("cut.crt") }),
      "tls-file-content",
      'tls.ca_file "DIR/cut.crt" holds no certificate: "-----END CERTIFICATE-----" is missing',
      CERTIFICATES,
    ],
    [
      "a cut DER file",
      () => ({ ca: at("cut.der") }),
      "tls-file-damaged",
      'tls.ca_file "DIR/cut.der" is damaged (it ends too early)',
      COPY_AGAIN,
    ],
    [
      "a cut PKCS#12 file",
      () => ({ crt: at("cut.p12"), keyPass: "key-secret" }),
      "tls-file-damaged",
      'tls.crt_file "DIR/cut.p12" is a damaged PKCS#12 file (it ends too early)',
      COPY_AGAIN,
    ],
    [
      "a key for authorities",
      () => ({ ca: files.clientKey }),
      "tls-file-content",
      'tls.ca_file "DIR/client.key" holds no certificate, only: private key',
      CERTIFICATES,
    ],
    [
      "a DER key for authorities",
      () => ({ ca: files.clientKeyDer }),
      "tls-file-content",
      'tls.ca_file "DIR/client_key.der" holds no certificate, only a private key',
      CERTIFICATES,
    ],
    [
      "a certificate for a key",
      () => pair({ key: files.clientCert }),
      "tls-file-content",
      'tls.key_file "DIR/client.crt" holds no private key',
      KEYS,
    ],
    [
      "a damaged key",
      () => pair({ key: at("damaged.key") }),
      "tls-file-damaged",
      'the private key in tls.key_file "DIR/damaged.key" is damaged',
      COPY_AGAIN,
    ],
    [
      "no key",
      () => ({ crt: files.clientCert }),
      "tls-key-missing",
      'tls.crt_file "DIR/client.crt" is set and tls.key_file is not',
      "Set tls.key_file, or give a PKCS#12 file, which holds both",
    ],
    [
      "no certificate",
      () => ({ key: files.clientKey }),
      "tls-key-missing",
      'tls.key_file "DIR/client.key" is set and tls.crt_file is not',
      "Set tls.crt_file, or remove tls.key_file",
    ],
    [
      "two keys",
      () => ({ crt: files.clientP12, key: files.clientKey, keyPass: "key-secret" }),
      "tls-key-twice",
      'tls.crt_file "DIR/client.p12" is a PKCS#12 file, which holds a key, and tls.key_file "DIR/client.key" is set as well',
      "Remove tls.key_file",
    ],
    [
      "a key of another certificate",
      () => pair({ crt: files.ca }),
      "tls-key-mismatch",
      'the key in tls.key_file "DIR/client.key" does not belong to the first certificate of tls.crt_file "DIR/ca.crt"',
      "Give the key that the certificate was made for; the client's certificate comes first in a chain",
    ],
    [
      "PKCS#12 without a key",
      () => ({ crt: at("no_key.p12"), keyPass: "p" }),
      "tls-file-content",
      'tls.crt_file "DIR/no_key.p12" is a PKCS#12 file without a private key',
      "Export it again: openssl pkcs12 -export -in CERT.pem -inkey KEY.pem -out FILE.p12",
    ],
  ];
  for (const [name, overrides, ...words] of cases) {
    test(name, async () => {
      expect(await wordsOf(overrides())).toEqual(words);
    });
  }

  const encrypted: [string, () => Partial<TlsConfig>, string][] = [
    ["PKCS#8", () => pair({ key: files.clientKeyEncrypted }), 'tls.key_file "DIR/client_encrypted.key"'],
    ["DER", () => pair({ key: files.clientKeyDerEncrypted }), 'tls.key_file "DIR/client_key_encrypted.der"'],
    ["Proc-Type", () => pair({ key: files.clientKeyLegacy }), 'tls.key_file "DIR/client_legacy.key"'],
    ["PKCS#12", () => ({ crt: files.clientP12 }), 'tls.crt_file "DIR/client.p12"'],
    ["old PKCS#12", () => ({ crt: files.clientP12Legacy }), 'tls.crt_file "DIR/client_legacy.p12"'],
  ];
  for (const [name, overrides, file] of encrypted) {
    test(`a pass phrase that is missing or wrong, ${name}`, async () => {
      const missing = `${file} is encrypted and tls.key_pass is not set`;
      expect(await wordsOf(overrides())).toEqual(["tls-key-pass", missing, "Set tls.key_pass"]);
      const wrong = `${file} cannot be decrypted: tls.key_pass is not its pass phrase`;
      for (let i = 0; i < 20; i++) {
        // Of wrong pass phrases one in 256 has right padding.
        const words = await wordsOf({ ...overrides(), keyPass: `wrong-${i}` });
        expect(words).toEqual(["tls-key-pass", wrong, "Correct tls.key_pass"]);
      }
    });
  }
});

test("RSA and Ed25519 keys, as PKCS#1 and PKCS#8, in PEM and DER, beside other blocks of the file", async () => {
  const none = { ca: null, keyPass: null, verifyHostname: true, serverName: null };
  const self = (key: string, crt: string) =>
    runCommand("openssl", [
      "req",
      "-x509",
      "-new",
      "-key",
      key,
      "-subj",
      "/CN=self",
      "-days",
      "9",
      "-out",
      crt,
    ]);
  const [rsa, crt] = [dir.file("rsa.key"), dir.file("rsa.crt")];
  await runCommand("openssl", ["genrsa", "-traditional", "-out", rsa, "2048"]);
  expect(readFileSync(rsa, "utf8")).toStartWith("-----BEGIN RSA PRIVATE KEY-----");
  await self(rsa, crt);
  const der = dir.file("rsa.der");
  await runCommand("openssl", ["rsa", "-in", rsa, "-traditional", "-outform", "DER", "-out", der]);
  const both = dir.file("both.pem");
  const text = `some text\n${readFileSync(crt, "utf8")}\n${readFileSync(rsa, "utf8")}`;
  writeFileSync(both, text.replaceAll("\n", "\r\n"));
  const [ed, edCrt] = [dir.file("ed.key"), dir.file("ed.crt")];
  await runCommand("openssl", ["genpkey", "-algorithm", "ED25519", "-out", ed]);
  await self(ed, edCrt);
  for (const [certificate, key] of [[crt, rsa], [crt, der], [both, both], [edCrt, ed]] as const) {
    const { options, certificates } = await loadTls({ ...none, crt: certificate, key });
    expect(certificates).toMatchObject([{ role: "client", subject: "CN=self" }]);
    expect(options.key).toStartWith("-----BEGIN PRIVATE KEY-----");
  }
});

test(
  "a PKCS#12 file without a pass phrase, and what it is when it is cut and damaged at every place",
  async () => {
    const none = { ca: null, key: null, verifyHostname: true, serverName: null };
    const open = dir.file("open.p12");
    const store = ["pkcs12", "-export", "-in", files.clientCert, "-inkey", files.clientKey];
    await runCommand("openssl", [...store, "-out", open, "-passout", "pass:"]);
    expect((await loadTls({ ...none, crt: open, keyPass: null })).certificates).toHaveLength(1);
    const bytes = readFileSync(open);
    const damaged = dir.file("fuzzed.p12");
    for (let at = 0; at < bytes.length; at += 3) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 0x41;
      for (const content of [changed, bytes.subarray(0, at)]) {
        writeFileSync(damaged, content);
        // Words, whatever it is, and never anything else; what the checksum does not cover may still be good.
        await loadTls({ ...none, crt: damaged, keyPass: null }).catch((error: unknown) => {
          expect(error).toBeInstanceOf(ConnectError);
          expect((error as ConnectError).code).toMatch(/^tls-(file|key)-/);
        });
      }
    }
  },
  90_000,
);
