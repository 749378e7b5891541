import { beforeEach, expect, test } from "bun:test";
import type { SeenCertificate } from "../../../src/kafka/tls/seen_certificate.ts";
import { CertificateWatch } from "../../../src/kafka/tls/certificate_watch.ts";
import type { Log } from "../../../src/telemetry/log.ts";
import type { CertificateFigure } from "../../../src/telemetry/metrics.ts";

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 0, 31);

let nowMs: number;
let warnings: string[];
let figures: readonly CertificateFigure[];
let onDisk: readonly SeenCertificate[] | Error;
let watch: CertificateWatch;
beforeEach(() => {
  nowMs = START_MS;
  warnings = [];
  figures = [];
  onDisk = [];
  const log: Log = { debug() {}, info() {}, warn: (message) => warnings.push(message), error() {} };
  watch = new CertificateWatch({
    name: "out",
    log,
    now: () => nowMs,
    show: (shown) => figures = shown,
    reload: () => onDisk instanceof Error ? Promise.reject(onDisk) : Promise.resolve(onDisk),
  });
});

function ending(role: SeenCertificate["role"], days: number, broker: string | null = null): SeenCertificate {
  return { role, broker, subject: `CN=${role}`, notAfterMs: START_MS + days * DAY_MS };
}

const days = (role: CertificateFigure["role"]) => {
  const found = figures.find((each) => each.role === role);
  return found === undefined ? null : (found.notAfterMs - START_MS) / DAY_MS;
};

test("warns 14 days ahead, once a day, until the file is renewed", async () => {
  const files = [ending("ca", 400), ending("client", 20)];
  watch.note(files);
  onDisk = files;
  expect(warnings).toEqual([]);
  for (let day = 1; day <= 9; day++) {
    nowMs += DAY_MS;
    await watch.checkAgain();
    watch.note(files);
    watch.note(files);
  }
  expect(warnings).toEqual(
    [14, 13, 12, 11].map((left) =>
      `The client's certificate of tls.crt_file ends in ${left} days, at 2026-02-20T00:00:00.000Z (CN=client)`
    ),
  );
  onDisk = [ending("ca", 400), ending("client", 385)];
  nowMs += DAY_MS;
  await watch.checkAgain();
  expect(warnings).toHaveLength(4);
  expect(days("client")).toBe(385);
  // Files that cannot be read now are what they were.
  onDisk = new Error("gone");
  nowMs += DAY_MS;
  await watch.checkAgain();
  expect(days("client")).toBe(385);
  watch.close();
});

test("tells of the broker that ends first, and of one that has ended", () => {
  watch.note([ending("broker", 300, "a:1")]);
  watch.note([ending("broker", 3, "b:1")]);
  expect(days("broker")).toBe(3);
  watch.note([ending("broker", 200, "b:1")]);
  expect(days("broker")).toBe(200);
  watch.note([ending("client", -2)]);
  expect(warnings).toEqual([
    'The certificate of broker "b:1" ends in 3 days, at 2026-02-03T00:00:00.000Z (CN=broker)',
    "The client's certificate of tls.crt_file ended 2 days ago, at 2026-01-29T00:00:00.000Z (CN=client)",
  ]);
  watch.close();
});

test("an old authority in a bundle is no alarm while there is another", () => {
  watch.note([ending("ca", -100), ending("ca", 500), ending("ca", 300)]);
  expect(days("ca")).toBe(300);
  expect(warnings).toEqual([]);
  watch.note([ending("ca", -100), ending("ca", -1)]);
  expect(days("ca")).toBe(-1);
  expect(warnings).toHaveLength(1);
  watch.close();
});
