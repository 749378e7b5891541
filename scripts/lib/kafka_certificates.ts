import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CertificateForms, makeForms } from "./kafka_certificate_forms.ts";
import { makeTokenKey, type TokenKey } from "./kafka_tokens.ts";
import { runCommand } from "./run_command.ts";

/** Paths of PEM files. */
export interface Certificates extends CertificateForms, TokenKey {
  /** The authority that signed the two below. */
  readonly ca: string;
  /** Key and certificate in one file, as the broker wants them. */
  readonly serverKeystore: string;
  readonly clientCert: string;
  readonly clientKey: string;
  /** The client's key, encrypted with `clientKeyPassword`. */
  readonly clientKeyEncrypted: string;
  readonly clientKeyPassword: string;
  /** An authority that signed nothing here but `foreignCert`, for tests of a wrong CA. */
  readonly otherCa: string;
  /** As `serverKeystore`: one that ended yesterday, and one for kafka.example.org. */
  readonly serverExpired: string;
  readonly serverOtherHost: string;
  /** Of the client's key: one that ended yesterday, and one that `otherCa` signed. */
  readonly expiredCert: string;
  readonly foreignCert: string;
  /** The client's certificate by an authority between, which stands behind it in the file. */
  readonly chainCert: string;
}

const KEY_PASSWORD = "key-secret";
const VALID_DAYS = "3650";

/** Makes an authority, a server certificate for localhost and 127.0.0.1 and a client certificate, by openssl. */
export async function makeCertificates(dir: string): Promise<Certificates> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const ca = await makeAuthority(dir, "ca", "shipper test CA");
  const otherCa = await makeAuthority(dir, "other_ca", "another test CA");
  const serverNames = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1";
  const server = await issueCertificate(dir, ca, "server", "localhost", serverNames);
  const client = await issueCertificate(dir, ca, "client", "shipper-client", "extendedKeyUsage=clientAuth");
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
  const expired = { days: "-1" };
  const otherName = "subjectAltName=DNS:kafka.example.org";
  return {
    ca: ca.cert,
    serverKeystore: keystoreOf(dir, "server", server),
    serverExpired: keystoreOf(
      dir,
      "server_expired",
      await issueCertificate(dir, ca, "expired", "localhost", serverNames, expired),
    ),
    serverOtherHost: keystoreOf(
      dir,
      "server_other_host",
      await issueCertificate(dir, ca, "other_host", "kafka.example.org", otherName),
    ),
    clientCert: client.cert,
    clientKey: client.key,
    clientKeyEncrypted: encrypted,
    clientKeyPassword: KEY_PASSWORD,
    otherCa: otherCa.cert,
    ...await moreClients(dir, ca, otherCa, client.key),
    ...await makeForms(dir, { ca: ca.cert, otherCa: otherCa.cert, ...client, password: KEY_PASSWORD }),
    ...makeTokenKey(dir),
  };
}

/** Certificates of the client's own key. */
async function moreClients(dir: string, ca: KeyPair, otherCa: KeyPair, key: string) {
  const forClients = "extendedKeyUsage=clientAuth";
  const name = "shipper-client";
  const expired = await issueCertificate(dir, ca, "client_expired", name, forClients, { key, days: "-1" });
  const foreign = await issueCertificate(dir, otherCa, "client_foreign", name, forClients, { key });
  const between = await issueCertificate(
    dir,
    ca,
    "between",
    "a CA between",
    "basicConstraints=critical,CA:TRUE",
  );
  const last = await issueCertificate(dir, between, "client_last", name, forClients, { key });
  const chainCert = join(dir, "client_chain.crt");
  writeFileSync(chainCert, await Bun.file(last.cert).text() + await Bun.file(between.cert).text());
  return { expiredCert: expired.cert, foreignCert: foreign.cert, chainCert };
}

/** Key and certificate in one file. */
function keystoreOf(dir: string, name: string, pair: KeyPair): string {
  const keystore = join(dir, `${name}.pem`);
  writeFileSync(keystore, readFileSync(pair.key, "utf8") + readFileSync(pair.cert, "utf8"), { mode: 0o600 });
  return keystore;
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
  { key = null, days = VALID_DAYS }: { readonly key?: string | null; readonly days?: string } = {},
): Promise<KeyPair> {
  const pair = { key: key ?? join(dir, `${name}.key`), cert: join(dir, `${name}.crt`) };
  const request = join(dir, `${name}.csr`);
  const extensions = join(dir, `${name}.ext`);
  if (key === null) await makeKey(pair.key);
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
    days,
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
