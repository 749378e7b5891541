import { pathToFileURL } from "node:url";
import type { Certificates } from "./kafka_certificates.ts";

export type Security = "plaintext" | "sasl_ssl";

/**
 * PROXIED is there on request: a plaintext listener that is advertised under another port, where a test puts a proxy. SSL_EXPIRED and
 * SSL_OTHER_HOST are as SSL, with a certificate that ended yesterday, and one for kafka.example.org.
 */
export type ListenerName =
  | "PLAINTEXT"
  | "SSL"
  | "SASL_PLAINTEXT"
  | "SASL_SSL"
  | "SSL_EXPIRED"
  | "SSL_OTHER_HOST"
  | "PROXIED";

/** A name and password that SASL PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 accept. */
export interface KafkaUser {
  readonly username: string;
  readonly password: string;
}

/** "admin" is a super user; the others have only the rights that a test gives them, when ACLs are on. */
export const KAFKA_USERS: readonly KafkaUser[] = [
  { username: "admin", password: "admin-secret" },
  { username: "shipper", password: "shipper-secret" },
  { username: "stranger", password: "stranger-secret" },
];

/** Ports of one broker. */
export type ListenerPorts = Partial<Record<ListenerName, number>> & { readonly PLAINTEXT: number };

/** All that a broker's properties are made of. */
export interface BrokerPlan {
  readonly id: number;
  readonly dataDir: string;
  readonly ports: ListenerPorts;
  /** Where PROXIED says that it is. */
  readonly advertisedPort: number | null;
  /** Null for a broker that is no controller. */
  readonly controllerPort: number | null;
  /** Every controller: id and port. */
  readonly quorum: readonly { readonly id: number; readonly port: number }[];
  readonly brokerCount: number;
  readonly certificates: Certificates | null;
  readonly acl: boolean;
  readonly settings: Readonly<Record<string, string>>;
  readonly features: Readonly<Record<string, number>>;
}

const QUORUM_MAX = 3;

/** Listeners that go with a kind of security. */
export function listenerNames(security: Security, proxied: boolean): ListenerName[] {
  const names: ListenerName[] = ["PLAINTEXT"];
  if (security === "sasl_ssl") {
    names.push("SSL", "SASL_PLAINTEXT", "SASL_SSL", "SSL_EXPIRED", "SSL_OTHER_HOST");
  }
  if (proxied) names.push("PROXIED");
  return names;
}

/** How many of the brokers are controllers too. */
export function quorumSize(brokerCount: number): number {
  // An even number of voters survives no more failures than one less.
  const size = Math.min(QUORUM_MAX, brokerCount);
  return size % 2 === 0 ? size - 1 : size;
}

/** The text of server.properties. */
export function brokerProperties(plan: BrokerPlan): string {
  const properties: Record<string, string> = {
    ...networkProperties(plan),
    ...testProperties(plan),
    ...(plan.certificates === null ? {} : securityProperties(plan.certificates)),
    ...(plan.acl ? aclProperties() : {}),
    ...plan.settings,
  };
  return Object.entries(properties).map(([key, value]) => `${key}=${escapeValue(value)}\n`).join("");
}

function networkProperties(plan: BrokerPlan): Record<string, string> {
  const listeners: string[] = [];
  const advertised: string[] = [];
  const protocols = ["CONTROLLER:PLAINTEXT", "PROXIED:PLAINTEXT"];
  for (const [name, port] of Object.entries(plan.ports)) {
    listeners.push(`${name}://127.0.0.1:${port}`);
    advertised.push(`${name}://127.0.0.1:${name === "PROXIED" ? plan.advertisedPort : port}`);
    if (name !== "PROXIED") protocols.push(`${name}:${name.replace(/^SSL_.*/u, "SSL")}`);
  }
  if (plan.controllerPort !== null) listeners.push(`CONTROLLER://127.0.0.1:${plan.controllerPort}`);
  return {
    "process.roles": plan.controllerPort === null ? "broker" : "broker,controller",
    "node.id": String(plan.id),
    "controller.quorum.voters": plan.quorum.map((voter) => `${voter.id}@127.0.0.1:${voter.port}`).join(","),
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": protocols.join(","),
    "listeners": listeners.join(","),
    "advertised.listeners": advertised.join(","),
    "log.dirs": plan.dataDir,
  };
}

/** Small, quick to start and to fail over; nothing is created behind a test's back. */
function testProperties(plan: BrokerPlan): Record<string, string> {
  const replicas = String(Math.min(3, plan.brokerCount));
  return {
    "auto.create.topics.enable": "false",
    "default.replication.factor": replicas,
    "offsets.topic.replication.factor": replicas,
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": replicas,
    "transaction.state.log.num.partitions": "3",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": replicas,
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.retention.ms": "-1",
    "file.delete.delay.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
  };
}

function securityProperties(certificates: Certificates): Record<string, string> {
  const plainUsers = KAFKA_USERS.map((user) => `user_${user.username}="${user.password}"`).join(" ");
  const properties: Record<string, string> = {
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": certificates.serverKeystore,
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": certificates.ca,
    "ssl.client.auth": "requested",
    "listener.name.ssl_expired.ssl.keystore.location": certificates.serverExpired,
    "listener.name.ssl_other_host.ssl.keystore.location": certificates.serverOtherHost,
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
    "sasl.oauthbearer.jwks.endpoint.url": pathToFileURL(certificates.tokenKeySet).href,
    // Both run on this host: a token that has ended is refused at once.
    "sasl.oauthbearer.clock.skew.seconds": "0",
    // From 4.4 on brokers ask for both; the tests' tokens are from nobody and for everybody.
    "sasl.oauthbearer.allow.unverified.audience": "true",
    "sasl.oauthbearer.allow.unverified.issuer": "true",
  };
  for (const listener of ["sasl_ssl", "sasl_plaintext"]) {
    const prefix = `listener.name.${listener}`;
    const security = "org.apache.kafka.common.security";
    properties[`${prefix}.plain.sasl.jaas.config`] =
      `${security}.plain.PlainLoginModule required ${plainUsers};`;
    properties[`${prefix}.oauthbearer.sasl.jaas.config`] =
      `${security}.oauthbearer.OAuthBearerLoginModule required;`;
    properties[`${prefix}.oauthbearer.sasl.server.callback.handler.class`] =
      `${security}.oauthbearer.OAuthBearerValidatorCallbackHandler`;
    for (const mechanism of ["scram-sha-256", "scram-sha-512"]) {
      properties[`${prefix}.${mechanism}.sasl.jaas.config`] = `${security}.scram.ScramLoginModule required;`;
    }
  }
  return properties;
}

function aclProperties(): Record<string, string> {
  return {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    // ANONYMOUS is who comes over PLAINTEXT: the brokers themselves, and the tests' own reader.
    "super.users": "User:admin;User:ANONYMOUS",
    "allow.everyone.if.no.acl.found": "false",
  };
}

function escapeValue(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
