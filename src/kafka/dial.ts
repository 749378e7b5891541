import { isIP } from "node:net";
import { type ConnectContext, type ConnectStage, explainConnectError } from "./connect_errors.ts";
import type { BrokerConnection, BrokerConnectionOptions } from "./broker_connection.ts";
import { brokerName, KafkaJsBrokerConnection } from "./connection.ts";
import { withDeadline } from "./deadline.ts";
import { type ConnectError, KafkaError } from "./errors.ts";
import { isTokenLogin, type LoginMessage } from "./login/login.ts";
import { processNameLookup } from "./name_lookup.ts";
import type { TlsMaterial } from "./security.ts";

const STAGES: readonly ConnectStage[] = ["resolve", "connect", "tls", "versions", "sasl"];
/** Addresses of one name that are tried in one attempt. */
const ADDRESSES_MAX = 8;
/** Connects, agrees on versions, authenticates. Rejects with ConnectError; nothing of a failed attempt stays behind. */
export async function openBrokerConnection(options: BrokerConnectionOptions): Promise<BrokerConnection> {
  const context = (stage: ConnectStage): ConnectContext => ({
    broker: brokerName(options.host, options.port),
    host: options.host,
    stage,
    tls: options.tls !== null,
    saslMechanism: options.login?.mechanism ?? null,
    advertised: options.advertised ?? false,
    connectTimeoutMs: options.connectTimeoutMs,
    offeredMechanisms: [],
    clientCertificate: null,
    isRenewal: false,
  });
  const addresses = await resolveHost(options).catch((error: unknown) => {
    throw explainConnectError(error, context("resolve"));
  });
  let secure: TlsMaterial | null = null;
  try {
    if (options.tls !== null) secure = await prepareTls(options);
  } catch (error) {
    throw explainConnectError(error, context("connect"));
  }
  let furthest: ConnectError | null = null;
  let furthestStage = -1;
  for (const address of addresses) {
    const host = await hostAt(address, options);
    // Fetched before there is a connection: a broker does not wait long for a login.
    const message = await prepareLogin(options, host).catch((error: unknown) => {
      throw explainConnectError(error, context("connect"));
    });
    const attempt = new KafkaJsBrokerConnection({ ...options, host }, address, secure, message);
    try {
      await attempt.open();
      return attempt;
    } catch (error) {
      const failure = explainConnectError(attempt.failCause ?? error, attempt.explainContext());
      attempt.close();
      if (failure.code === "aborted") throw failure;
      const stage = STAGES.indexOf(attempt.stage);
      if (stage > furthestStage) {
        furthestStage = stage;
        furthest = failure;
      }
    }
  }
  throw furthest!;
}

async function prepareLogin(
  { login, signal }: BrokerConnectionOptions,
  host: string,
): Promise<LoginMessage | null> {
  return login !== null && isTokenLogin(login) ? await login.prepare(host, signal) : null;
}

async function prepareTls({ tls, onCertificates }: BrokerConnectionOptions): Promise<TlsMaterial> {
  // Loaded when it is needed: a start without TLS does not pay for it.
  const { loadTls } = await import("./security.ts");
  const material = await loadTls(tls!);
  onCertificates?.(material.certificates);
  return material;
}

/**
 * The name that stands for this address: the one that was asked for, or its canonical name, as the Java client does. An address that has none
 * stands for itself.
 */
export async function hostAt(
  address: string,
  options: BrokerConnectionOptions,
  lookUpName = (address: string, port: number) => processNameLookup.nameOf(address, port),
): Promise<string> {
  const { host, port, isCanonical = false, advertised = false, connectTimeoutMs, signal, log } = options;
  if (!isCanonical || advertised) return host;
  try {
    return await withDeadline(lookUpName(address, port), connectTimeoutMs, signal);
  } catch (error) {
    log.debug(
      `No canonical name was found for ${address}: ${error instanceof Error ? error.message : error}`,
    );
    return address;
  }
}

async function resolveHost(options: BrokerConnectionOptions): Promise<string[]> {
  if (isIP(options.host) !== 0) return [options.host];
  const found = await withDeadline(
    processNameLookup.addresses(options.host),
    options.connectTimeoutMs,
    options.signal,
  );
  const addresses = [...new Set(found)].slice(0, ADDRESSES_MAX);
  if (addresses.length === 0) throw new KafkaError("ENOTFOUND", "No address");
  return addresses;
}
