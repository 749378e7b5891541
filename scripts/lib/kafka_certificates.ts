import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./run_command.ts";

/** Paths of PEM files. */
export interface Certificates {
  /** The authority that signed the two below. */
  readonly ca: string;
  /** Key and certificate in one file, as the broker wants them. */
  readonly serverKeystore: string;
  readonly clientCert: string;
  readonly clientKey: string;
  /** The client's key, encrypted with `clientKeyPassword`. */
  readonly clientKeyEncrypted: string;
  readonly clientKeyPassword: string;
  /** An authority that signed nothing here, for tests of a wrong CA. */
  readonly otherCa: string;
}

const KEY_PASSWORD = "key-secret";
const VALID_DAYS = "3650";

/** Makes an authority, a server certificate for localhost and 127.0.0.1 and a client certificate, by openssl. */
export async function makeCertificates(dir: string): Promise<Certificates> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const ca = await makeAuthority(dir, "ca", "shipper test CA");
  await makeAuthority(dir, "other_ca", "another test CA");
  const serverNames = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1";
  const server = await issueCertificate(dir, ca, "server", "localhost", serverNames);
  const client = await issueCertificate(dir, ca, "client", "shipper-client", "extendedKeyUsage=clientAuth");
  const keystore = join(dir, "server.pem");
  writeFileSync(keystore, await Bun.file(server.key).text() + await Bun.file(server.cert).text(), {
    mode: 0o600,
  });
  const encrypted = join(dir, "client_encrypted.key");
  await openssl([
    "pkcs8",
    "-topk8",
    "-v2",
    "aes-256-cbc",
    "-in",
    client.key,
    "-out",
    encrypted,
    "-passout",
    `pass:${KEY_PASSWORD}`,
  ]);
  return {
    ca: ca.cert,
    serverKeystore: keystore,
    clientCert: client.cert,
    clientKey: client.key,
    clientKeyEncrypted: encrypted,
    clientKeyPassword: KEY_PASSWORD,
    otherCa: join(dir, "other_ca.crt"),
  };
}

interface KeyPair {
  readonly key: string;
  readonly cert: string;
}

async function makeAuthority(dir: string, name: string, commonName: string): Promise<KeyPair> {
  const pair = { key: join(dir, `${name}.key`), cert: join(dir, `${name}.crt`) };
  await makeKey(pair.key);
  await openssl([
    "req",
    "-x509",
    "-new",
    "-key",
    pair.key,
    "-subj",
    `/CN=${commonName}`,
    "-days",
    VALID_DAYS,
    "-out",
    pair.cert,
  ]);
  return pair;
}

async function issueCertificate(
  dir: string,
  ca: KeyPair,
  name: string,
  commonName: string,
  extension: string,
): Promise<KeyPair> {
  const pair = { key: join(dir, `${name}.key`), cert: join(dir, `${name}.crt`) };
  const request = join(dir, `${name}.csr`);
  const extensions = join(dir, `${name}.ext`);
  await makeKey(pair.key);
  await openssl(["req", "-new", "-key", pair.key, "-subj", `/CN=${commonName}`, "-out", request]);
  writeFileSync(extensions, `${extension}\n`);
  const signer = ["-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial"];
  await openssl([
    "x509",
    "-req",
    "-in",
    request,
    ...signer,
    "-days",
    VALID_DAYS,
    "-extfile",
    extensions,
    "-out",
    pair.cert,
  ]);
  return pair;
}

async function makeKey(path: string): Promise<void> {
  await openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path]);
}

async function openssl(args: readonly string[]): Promise<void> {
  await runCommand("openssl", args);
}
