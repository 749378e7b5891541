import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./run_command.ts";

/** The client's certificate and key, and the authority, in the forms that files of TLS have. All with one pass phrase. */
export interface CertificateForms {
  /** `otherCa` and `ca` in one file. */
  readonly caBundle: string;
  readonly caDer: string;
  readonly clientCertDer: string;
  /** PKCS#8 without and with a pass phrase, and SEC1. */
  readonly clientKeyDer: string;
  readonly clientKeyDerEncrypted: string;
  readonly clientKeySec1Der: string;
  /** "Proc-Type: 4,ENCRYPTED" */
  readonly clientKeyLegacy: string;
  /** PKCS#12 with PBES2, AES-256 and SHA-256, as openssl 3 and keytool write it. */
  readonly clientP12: string;
  /** PKCS#12 with RC2 (40 bits), 3DES and SHA-1, as openssl 1 and Windows write it. */
  readonly clientP12Legacy: string;
}

export interface FormSources {
  readonly ca: string;
  readonly otherCa: string;
  readonly cert: string;
  readonly key: string;
  readonly password: string;
}

/** Makes them by openssl in `dir`. */
export async function makeForms(dir: string, from: FormSources): Promise<CertificateForms> {
  const { ca, otherCa, cert, key, password } = from;
  const at = (name: string) => join(dir, name);
  const pass = ["-passout", `pass:${password}`];
  const forms: CertificateForms = {
    caBundle: at("ca_bundle.crt"),
    caDer: at("ca.der"),
    clientCertDer: at("client.der"),
    clientKeyDer: at("client_key.der"),
    clientKeyDerEncrypted: at("client_key_encrypted.der"),
    clientKeySec1Der: at("client_key_sec1.der"),
    clientKeyLegacy: at("client_legacy.key"),
    clientP12: at("client.p12"),
    clientP12Legacy: at("client_legacy.p12"),
  };
  writeFileSync(forms.caBundle, readFileSync(otherCa, "utf8") + readFileSync(ca, "utf8"));
  const store = [
    "pkcs12",
    "-export",
    "-in",
    cert,
    "-inkey",
    key,
    "-certfile",
    ca,
    "-name",
    "client",
    ...pass,
  ];
  const calls: string[][] = [
    ["x509", "-in", ca, "-outform", "DER", "-out", forms.caDer],
    ["x509", "-in", cert, "-outform", "DER", "-out", forms.clientCertDer],
    ["pkcs8", "-topk8", "-nocrypt", "-in", key, "-outform", "DER", "-out", forms.clientKeyDer],
    ["pkcs8", "-topk8", "-in", key, "-outform", "DER", "-out", forms.clientKeyDerEncrypted, ...pass],
    ["ec", "-in", key, "-outform", "DER", "-out", forms.clientKeySec1Der],
    ["ec", "-in", key, "-aes256", "-out", forms.clientKeyLegacy, ...pass],
    [...store, "-out", forms.clientP12],
    [...store, "-legacy", "-out", forms.clientP12Legacy],
  ];
  await Promise.all(calls.map((args) => runCommand("openssl", args)));
  return forms;
}
