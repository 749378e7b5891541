import { beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { checkBrokerCertificates, checkOwnCertificates } from "../../src/check/certificate_checks.ts";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import type { TlsConfig } from "../../src/config/config_security.ts";
import { runCommand } from "../../scripts/lib/run_command.ts";
import { tempDir } from "../support/temp_dir.ts";

const DAY_MS = 86_400_000;
const dir = tempDir("certificates");
let endMs: number;
let startMs: number;

/** Two authorities' certificates: one is good for 30 days, the other for 3650. */
beforeAll(async () => {
  for (const [name, days] of [["a", "30"], ["b", "3650"]] as const) {
    await runCommand("openssl", [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      dir.file(`${name}.key`),
      "-out",
      dir.file(`${name}.crt`),
      "-days",
      days,
      "-subj",
      `/O=Test/CN=ca ${name}`,
    ]);
  }
  const first = certificate("a");
  endMs = Date.parse(first.validTo);
  startMs = Date.parse(first.validFrom);
  writeFileSync(
    dir.file("both.crt"),
    `# a bundle\n${readFileSync(dir.file("a.crt"), "utf8")}${readFileSync(dir.file("b.crt"), "utf8")}`,
  );
});

function certificate(name: string): X509Certificate {
  return new X509Certificate(readFileSync(dir.file(`${name}.crt`)));
}

function sink(tls: Partial<TlsConfig>): KafkaSinkConfig {
  const none = { ca: null, crt: null, key: null, keyPass: null, verifyHostname: true, serverName: null };
  return { name: "k", tls: { ...none, ...tls } } as unknown as KafkaSinkConfig;
}

function broker(nowMs: number) {
  const probe = { protocol: "TLSv1.3", chain: [certificate("b"), certificate("a")] };
  return checkBrokerCertificates("k", "b:9092", probe, nowMs)[0]!;
}

describe("a broker's certificates, of which the first to end counts", () => {
  test("ok", () => {
    const day = new Date(endMs).toISOString().slice(0, 10);
    expect(broker(endMs - 14 * DAY_MS - 1)).toEqual({
      check: "broker.certificate",
      sink: "k",
      source: null,
      target: "b:9092",
      status: "ok",
      code: null,
      message: `Certificate "CN=ca a" of broker "b:9092" is valid until ${day}, 14 days from now`,
      hint: null,
    });
  });

  test("a warning 14 days ahead", () => {
    const warned = broker(endMs - 14 * DAY_MS + 1_000);
    expect(warned).toMatchObject({
      status: "warning",
      code: "expires-soon",
      hint: "Renew it on the broker",
    });
    expect(warned.message).toContain("13 days from now");
    expect(broker(endMs - 1.5 * DAY_MS).message).toContain(" 1 day from now");
  });

  test("expired, and not yet valid", () => {
    expect(broker(endMs + 1)).toMatchObject({ status: "failed", code: "expired" });
    expect(broker(startMs - DAY_MS)).toMatchObject({ status: "failed", code: "not-yet-valid" });
  });

  test("without a handshake nothing is said: the connection tells why", () => {
    expect(checkBrokerCertificates("k", "b:9092", { protocol: null, chain: [] }, 0)).toEqual([]);
  });
});

describe("files of tls", () => {
  test("authorities and the client's certificate", async () => {
    const config = sink({ ca: dir.file("b.crt"), crt: dir.file("a.crt"), key: dir.file("a.key") });
    expect(await checkOwnCertificates(config, endMs - DAY_MS)).toMatchObject([
      { check: "tls.client_certificate", status: "warning", code: "expires-soon", target: dir.file("a.crt") },
      { check: "tls.ca_certificate", status: "ok", target: dir.file("b.crt") },
    ]);
    expect(await checkOwnCertificates(config, endMs + 1)).toMatchObject([
      { check: "tls.client_certificate", status: "failed", code: "expired" },
      { check: "tls.ca_certificate", status: "ok" },
    ]);
  });

  test("an old authority in a bundle is a warning, an old one alone has failed", async () => {
    const inBundle = await checkOwnCertificates(sink({ ca: dir.file("both.crt") }), endMs + 1);
    expect(inBundle).toMatchObject([{ status: "warning", code: "expired" }]);
    const alone = await checkOwnCertificates(sink({ ca: dir.file("a.crt") }), endMs + 1);
    expect(alone).toMatchObject([{ status: "failed", code: "expired" }]);
  });

  test("PEM text in the place of a path has no name", async () => {
    const config = sink({ ca: readFileSync(dir.file("b.crt"), "utf8") });
    expect(await checkOwnCertificates(config, endMs)).toMatchObject([{ status: "ok", target: null }]);
  });

  test("a file that cannot be used has failed, with the words of a connection", async () => {
    expect(await checkOwnCertificates(sink({ ca: dir.file("none.crt") }), endMs)).toMatchObject([
      { check: "tls.files", status: "failed", code: "tls-file-unreadable" },
    ]);
    const pair = sink({ ca: dir.file("b.crt"), crt: dir.file("a.crt"), key: dir.file("b.key") });
    const [result] = await checkOwnCertificates(pair, endMs);
    expect(result!.message).toContain("does not belong to the first certificate");
  });

  test("no TLS, nothing to say", async () => {
    expect(await checkOwnCertificates({ name: "k", tls: null } as KafkaSinkConfig, 0)).toEqual([]);
  });
});
