import { X509Certificate } from "node:crypto";
import type { KafkaSinkConfig } from "../config/config.ts";
import { loadTls } from "../kafka/security.ts";
import { countOf } from "../telemetry/format.ts";
import { type CheckPlace, type CheckResult, found, passed, placeOf } from "./check_result.ts";
import { failureOf } from "./run_check.ts";
import type { TlsProbe } from "./tls_probe.ts";

const DAY_MS = 86_400_000;
/** A certificate that ends sooner is warned of. */
export const EXPIRY_WARNING_MS = 14 * DAY_MS;

const PEM_CERTIFICATE = /-----BEGIN (TRUSTED )?CERTIFICATE-----[\s\S]*?-----END \1?CERTIFICATE-----/g;

/** The certificates that a broker shows: how long each is good. One result, about the one that ends first. */
export function checkBrokerCertificates(
  sink: string,
  broker: string,
  { chain }: TlsProbe,
  nowMs: number,
): CheckResult[] {
  if (chain.length === 0) return [];
  const place = placeOf("broker.certificate", { sink, target: broker });
  return [judge(place, `of broker "${broker}"`, chain, "Renew it on the broker", nowMs)];
}

/** The files that the sink's `tls` options name: the client's certificate and the authorities. */
export async function checkOwnCertificates(config: KafkaSinkConfig, nowMs: number): Promise<CheckResult[]> {
  const { tls, name: sink } = config;
  if (tls === null) return [];
  const filesPlace = placeOf("tls.files", { sink });
  let options;
  try {
    options = (await loadTls(tls)).options;
  } catch (error) {
    return [failureOf(filesPlace, "use the files of tls", error)];
  }
  const results: CheckResult[] = [];
  const client = certificatesIn(options.cert);
  if (client.length > 0) {
    const place = placeOf("tls.client_certificate", { sink, target: shownPath(tls.crt) });
    results.push(judge(place, "of tls.crt_file", client, "Renew it, and keep its key beside it", nowMs));
  }
  const authorities = certificatesIn(options.ca);
  if (authorities.length > 0) {
    const place = placeOf("tls.ca_certificate", { sink, target: shownPath(tls.ca) });
    results.push(
      judge(place, "of tls.ca_file", authorities, "Add the authority's new certificate to the file", nowMs),
    );
  }
  return results;
}

/** PEM text may stand in the place of a path. */
function shownPath(pathOrText: string | null): string | null {
  return pathOrText === null || pathOrText.includes("-----BEGIN ") ? null : pathOrText;
}

/** By what `tls.connect` takes: PEM text, one or several. */
function certificatesIn(pem: unknown): X509Certificate[] {
  const texts = (Array.isArray(pem) ? pem : [pem]).filter((each) => each !== undefined && each !== null);
  return texts.flatMap((text) =>
    [...String(text).matchAll(PEM_CERTIFICATE)].map(([block]) => new X509Certificate(block))
  );
}

function judge(
  place: CheckPlace,
  whose: string,
  certificates: readonly X509Certificate[],
  hint: string,
  nowMs: number,
): CheckResult {
  const byEnd = [...certificates].sort((a, b) => endOf(a) - endOf(b));
  const early = certificates.find((each) => Date.parse(each.validFrom) > nowMs);
  if (early !== undefined) {
    return found(
      "failed",
      place,
      "not-yet-valid",
      `Certificate ${nameOf(early)} ${whose} is not valid before ${dayOf(Date.parse(early.validFrom))}`,
      "Compare the clock of this host with the one of the authority",
    );
  }
  const first = byEnd[0]!;
  const leftMs = endOf(first) - nowMs;
  const what = `Certificate ${nameOf(first)} ${whose}`;
  if (leftMs <= 0) {
    // A bundle of authorities may hold old ones that nobody needs.
    const isOneOfMany = place.check === "tls.ca_certificate" && endOf(byEnd.at(-1)!) > nowMs;
    const status = isOneOfMany ? "warning" : "failed";
    return found(status, place, "expired", `${what} has expired on ${dayOf(endOf(first))}`, hint);
  }
  const days = Math.floor(leftMs / DAY_MS);
  const until = `is valid until ${dayOf(endOf(first))}, ${countOf(days, "day")} from now`;
  if (leftMs < EXPIRY_WARNING_MS) return found("warning", place, "expires-soon", `${what} ${until}`, hint);
  return passed(place, `${what} ${until}`);
}

function endOf(certificate: X509Certificate): number {
  return Date.parse(certificate.validTo);
}

function dayOf(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}

/** "CN=kafka-1": the last part that names it. */
function nameOf({ subject, serialNumber }: X509Certificate): string {
  const parts = (subject ?? "").split("\n").filter((each) => each !== "");
  const name = parts.find((each) => each.startsWith("CN=")) ?? parts.at(-1) ?? `number ${serialNumber}`;
  return `"${name}"`;
}
