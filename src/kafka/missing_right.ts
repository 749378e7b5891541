import type { SaslConfig, TlsConfig } from "../config/config_security.ts";
import { ErrorCode } from "./protocol/error_codes.ts";

/** Kafka's names of operations, as rights are given for them. */
export type Operation = "WRITE" | "READ" | "DESCRIBE" | "CREATE" | "IDEMPOTENT_WRITE";

/** What a right is for. */
export type RightResource =
  | { readonly kind: "topic"; readonly name: string }
  | { readonly kind: "transactional id"; readonly name: string }
  | { readonly kind: "cluster" };

/** Who is refused, and by whom. */
export interface RightHolder {
  readonly bootstrapServers: readonly string[];
  readonly sasl: SaslConfig | null;
  readonly tls: TlsConfig | null;
}

/** Whether an error means that a right is missing. */
export function isRefusedRight(errorCode: number): boolean {
  return errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED ||
    errorCode === ErrorCode.CLUSTER_AUTHORIZATION_FAILED ||
    errorCode === ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

/** "user "shipper" lacks WRITE and DESCRIBE on topic "logs"". */
export function missingRightText(
  holder: RightHolder,
  resource: RightResource,
  operations: readonly Operation[],
): string {
  return `${userText(holder)} lacks ${operations.join(" and ")} on ${
    resource.kind === "cluster" ? "the cluster" : `${resource.kind} "${resource.name}"`
  }`;
}

/** The command that gives the right, to be run by who may. */
export function missingRightHint(
  holder: RightHolder,
  resource: RightResource,
  operations: readonly Operation[],
): string {
  const words = operations.map((each) => `--operation ${operationWord(each)}`).join(" ");
  const target = resource.kind === "cluster"
    ? "--cluster"
    : resource.kind === "topic"
    ? `--topic ${shellWord(resource.name)}`
    : `--transactional-id ${shellWord(resource.name)}`;
  return `kafka-acls --bootstrap-server ${holder.bootstrapServers[0]} --add --allow-principal ${
    shellWord(principalOf(holder))
  } ${words} ${target}`;
}

/** As the brokers name who logs in, where that can be known here. */
function principalOf({ sasl, tls }: RightHolder): string {
  if (sasl !== null) return "username" in sasl ? `User:${sasl.username}` : "User:NAME";
  return tls !== null && tls.crt !== null ? "User:DN-OF-THE-CERTIFICATE" : "User:ANONYMOUS";
}

function userText({ sasl, tls }: RightHolder): string {
  if (sasl !== null) return "username" in sasl ? `user "${sasl.username}"` : `the user of ${sasl.mechanism}`;
  return tls !== null && tls.crt !== null
    ? "the user of the client certificate"
    : 'user "ANONYMOUS" (no login)';
}

/** "IdempotentWrite". */
function operationWord(operation: Operation): string {
  return operation.split("_").map((word) => word[0]! + word.slice(1).toLowerCase()).join("");
}

function shellWord(text: string): string {
  return /^[A-Za-z0-9_.:@/=,+-]+$/u.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
