import { lookup } from "node:dns/promises";
import { connect as connectTcp, isIP } from "node:net";
import type { KafkaSinkConfig } from "../config/config.ts";
import { errnoName } from "../errors.ts";
import type { BrokerConnection } from "../kafka/broker_connection.ts";
import { parseServer } from "../kafka/cluster.ts";
import { brokerName } from "../kafka/connection.ts";
import { withDeadline } from "../kafka/deadline.ts";
import { KafkaError } from "../kafka/errors.ts";
import { checkApiVersions } from "./api_versions_check.ts";
import { checkBrokerCertificates } from "./certificate_checks.ts";
import { type CheckResult, found, passed, placeOf } from "./check_result.ts";
import { failureOf } from "./run_check.ts";
import { probeTls, type TlsProbe } from "./tls_probe.ts";

/** Addresses of one name that are tried. */
const ADDRESSES_MAX = 16;

/** What became of one address of a broker's name. */
export interface TriedAddress {
  readonly address: string;
  /** Null: it takes connections. */
  readonly errno: string | null;
}

/**
 * Whether one broker can be used: its name, TCP at every address, TLS, login (by `open`, as a sink does it), its certificates, and the
 * versions that it speaks. `server`: "host:port".
 */
export async function checkBroker(
  config: KafkaSinkConfig,
  server: string,
  open: () => Promise<BrokerConnection>,
  now: () => number,
): Promise<readonly CheckResult[]> {
  const { host, port } = parseServer(server);
  const place = placeOf("broker.connection", { sink: config.name, target: brokerName(host, port) });
  const { tls, connectTimeoutMs } = config;
  const [opened, tried, probe] = await Promise.all([
    settled(open()),
    tryAddresses(host, port, connectTimeoutMs),
    tls === null ? null : probeTls(tls, host, port, connectTimeoutMs),
  ]);
  const certificates = probe === null
    ? []
    : checkBrokerCertificates(config.name, place.target!, probe, now());
  if (!opened.ok) {
    return [failureOf(place, `connect to broker "${place.target}"`, opened.error), ...certificates];
  }
  const connection = connectionResult(config, place.target!, tried, probe);
  return [{ ...place, ...connection }, ...certificates, checkApiVersions(config, opened.value)];
}

function connectionResult(
  config: KafkaSinkConfig,
  broker: string,
  tried: readonly TriedAddress[],
  probe: TlsProbe | null,
): CheckResult {
  const place = placeOf("broker.connection", { sink: config.name, target: broker });
  const dead = tried.filter((each) => each.errno !== null);
  const live = tried.filter((each) => each.errno === null).map((each) => each.address);
  const parts = [
    live.length === 0 ? "" : ` at ${live.join(", ")}`,
    config.tls === null ? ", without TLS" : `, ${probe?.protocol ?? "TLS"}`,
    config.sasl === null ? ", without login" : `, logged in by ${config.sasl.mechanism}`,
  ];
  const message = `Broker "${broker}" answers${parts.join("")}`;
  if (dead.length === 0) return passed(place, message);
  const list = dead.map(({ address, errno }) => `${address} (${errno})`).join(", ");
  return found(
    "warning",
    place,
    "address-unreachable",
    `${message}, but not at ${list}, which its name leads to as well`,
    "Take the address out of DNS or /etc/hosts, or let the broker listen there: each connection may try it first",
  );
}

/** TCP alone, to each address. Empty where nothing is to be said: the name does not resolve, which the connection itself tells better. */
async function tryAddresses(host: string, port: number, timeoutMs: number): Promise<TriedAddress[]> {
  let addresses = [host];
  if (isIP(host) === 0) {
    try {
      const all = await withDeadline(lookup(host, { all: true }), timeoutMs, undefined);
      addresses = [...new Set(all.map((each) => each.address))].slice(0, ADDRESSES_MAX);
    } catch {
      return [];
    }
  }
  const tried = await Promise.all(addresses.map((address) => tryAddress(address, port, timeoutMs)));
  const isLocal = addresses.every((each) => each === "::1" || each.startsWith("127."));
  // "localhost" has two of them everywhere, and most servers listen at one.
  return isLocal ? tried.filter((each) => each.errno === null) : tried;
}

function tryAddress(address: string, port: number, timeoutMs: number): Promise<TriedAddress> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host: address, port });
    const end = (errno: string | null) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ address, errno });
    };
    const timer = setTimeout(() => end("ETIMEDOUT"), timeoutMs);
    socket.on("connect", () => end(null));
    socket.on("error", (error) => end(errnoName(error)));
  });
}

type Settled<T> = { readonly ok: true; readonly value: T } | {
  readonly ok: false;
  readonly error: KafkaError;
};

/** Errors of the connection are a result; others are bugs. */
async function settled<T>(work: Promise<T>): Promise<Settled<T>> {
  try {
    return { ok: true, value: await work };
  } catch (error) {
    if (error instanceof KafkaError) return { ok: false, error };
    throw error;
  }
}
