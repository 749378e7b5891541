import { ConnectError, KafkaError } from "./errors.ts";
import { ForeignPeerError } from "./frame_reader.ts";
import { ProtocolError } from "./protocol/wire.ts";
import { explainSasl } from "./sasl_errors.ts";
import type { SeenCertificate } from "./tls/seen_certificate.ts";
import { explainTls } from "./tls_errors.ts";

/** How far an attempt came. Later ones say more about the reason. */
export type ConnectStage = "resolve" | "connect" | "tls" | "versions" | "sasl";

export interface ConnectContext {
  readonly broker: string;
  readonly host: string;
  readonly stage: ConnectStage;
  readonly tls: boolean;
  /** Mechanism, or null without SASL. */
  readonly saslMechanism: string | null;
  /** The address was given by the cluster itself, not by the configuration. */
  readonly advertised: boolean;
  readonly connectTimeoutMs: number;
  /** What the broker offers, where it said so. */
  readonly offeredMechanisms: readonly string[];
  /** The client's certificate; null when none is set. */
  readonly clientCertificate: SeenCertificate | null;
  /** The connection was open, and its session was to be renewed (KIP-368). */
  readonly isRenewal: boolean;
}

export interface Explanation {
  readonly code: string;
  /** Goes after 'Cannot connect to broker "host:port": '. */
  readonly state: string;
  readonly hint: string;
}

/** Words for whatever stopped a connection: which broker, what was found there, and what to change. */
export function explainConnectError(cause: unknown, context: ConnectContext): ConnectError {
  if (cause instanceof ConnectError) return withBroker(cause, context);
  const code = codeOf(cause);
  const { code: named, state, hint } = byStage(code, cause, context);
  return new ConnectError(named, `Cannot connect to broker "${context.broker}": ${state}`, {
    hint,
    broker: context.broker,
    cause,
  });
}

function withBroker(error: ConnectError, context: ConnectContext): ConnectError {
  if (error.broker !== null) return error;
  const state = error.message.charAt(0).toLowerCase() + error.message.slice(1);
  return new ConnectError(error.code, `Cannot connect to broker "${context.broker}": ${state}`, {
    hint: error.hint,
    broker: context.broker,
    cause: error,
  });
}

/** kafkajs and Bun wrap: the code is on the error or on one of its causes. */
function codeOf(error: unknown): string {
  let current: unknown = error;
  for (let depth = 0; depth < 5 && current instanceof Error; depth++) {
    const code = (current as NodeJS.ErrnoException).code;
    if (typeof code === "string" && code !== "") return code;
    if (current.name.startsWith("KafkaJSConnection")) return "closed";
    current = current.cause;
  }
  return "failed";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function byStage(code: string, cause: unknown, context: ConnectContext): Explanation {
  if (code === "aborted") return { code, state: "given up at shutdown", hint: "Start again" };
  if (context.stage === "resolve") return explainResolve(code, context);
  if (cause instanceof ForeignPeerError) return explainForeign(cause, context);
  if (cause instanceof ProtocolError) {
    return {
      code: "not-kafka",
      state: `the peer's answer is not Kafka's protocol (${cause.message})`,
      hint: "Correct the port in bootstrap_servers",
    };
  }
  const certificate = explainTls(code, cause, context);
  if (certificate !== null) return certificate;
  if (code === "timeout") return explainTimeout(context);
  if (context.stage === "sasl") return explainSasl(code, cause, context);
  const network = explainNetwork(code, context);
  if (network !== null) return network;
  if (context.stage === "versions") return explainFirstExchange(code, cause, context);
  if (context.stage === "tls" && (code === "ECONNRESET" || code === "closed" || code === "EPIPE")) {
    return {
      code: "tls-refused",
      state: `it closed the connection during the TLS handshake (${code})`,
      hint: "The port may be a listener without TLS: remove tls.enabled, or use the port of the SSL listener",
    };
  }
  return {
    code,
    state: `${messageOf(cause)} (${code})`,
    hint: "Check bootstrap_servers, the network and the broker's log",
  };
}

function explainResolve(code: string, context: ConnectContext): Explanation {
  const hint = context.advertised
    ? `The cluster gives this name to its clients: correct advertised.listeners of the broker, or make "${context.host}" known here`
    : `Correct bootstrap_servers, or make "${context.host}" known to DNS or /etc/hosts`;
  if (code === "timeout") {
    return { code, state: `no answer from the name server within ${context.connectTimeoutMs} ms`, hint };
  }
  return { code, state: `the name "${context.host}" cannot be resolved (${code})`, hint };
}

function explainForeign(cause: ForeignPeerError, context: ConnectContext): Explanation {
  if (cause.peer === "http") {
    return {
      code: "not-kafka",
      state: "an HTTP server answers there",
      hint: "Correct the port in bootstrap_servers: Kafka's is often 9092",
    };
  }
  return {
    code: "tls-expected",
    state: "it speaks TLS, and tls.enabled is not set",
    hint:
      `Set tls.enabled = true (and tls.ca_file for a private CA), or use the plaintext port of "${context.host}"`,
  };
}

function explainTimeout(context: ConnectContext): Explanation {
  const within = `within ${context.connectTimeoutMs} ms`;
  const code = "timeout";
  switch (context.stage) {
    case "connect":
      return {
        code,
        state: `no connection ${within}`,
        hint: "Check the address, the firewall between, and connect_timeout_ms",
      };
    case "tls":
      return {
        code,
        state: `the TLS handshake was not finished ${within}`,
        hint: "The port may be a listener without TLS, or no Kafka broker: check the port and tls.enabled",
      };
    case "sasl":
      return { code, state: `authentication was not finished ${within}`, hint: "Look into the broker's log" };
    default:
      return {
        code,
        state: `connected, and no answer to the first request ${within}`,
        hint: context.tls
          ? "The broker is stopped or overloaded (look into its log), or the port belongs to something else"
          : "The broker is stopped or overloaded, or the port is a listener with TLS (then set tls.enabled = true) or no broker",
      };
  }
}

function explainNetwork(code: string, context: ConnectContext): Explanation | null {
  switch (code) {
    case "ECONNREFUSED":
      return {
        code,
        state: "nothing listens there (ECONNREFUSED)",
        hint: context.advertised
          ? "Start the broker, or correct its advertised.listeners: the cluster gives this address to its clients"
          : "Start the broker, or correct the port in bootstrap_servers",
      };
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "EADDRNOTAVAIL":
    case "EHOSTDOWN":
    case "ENETDOWN":
      return {
        code,
        state: `the network does not reach it (${code})`,
        hint: "Check routes, VPN and firewall",
      };
    case "ETIMEDOUT":
      return {
        code,
        state: "the network gives no answer (ETIMEDOUT)",
        hint: "Check routes, VPN and firewall",
      };
    case "EMFILE":
    case "ENFILE":
      return {
        code,
        state: `no file descriptor is free (${code})`,
        hint: "Raise the limit: ulimit -n, LimitNOFILE",
      };
    default:
      return null;
  }
}

function explainFirstExchange(code: string, cause: unknown, context: ConnectContext): Explanation {
  if (cause instanceof KafkaError && code !== "closed" && code !== "ECONNRESET" && code !== "EPIPE") {
    return { code, state: cause.message, hint: cause.hint ?? "Look into the broker's log" };
  }
  return {
    code: "closed",
    state: "it closed the connection at the first request",
    hint: context.tls
      ? "Set tls.crt_file and tls.key_file if the listener wants a client certificate, and look into the broker's log"
      : "The port may be an SSL listener: set tls.enabled = true; or it is no Kafka broker (1.0 or later)",
  };
}
