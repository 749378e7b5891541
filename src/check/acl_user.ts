import type { SaslConfig } from "../config/config_security.ts";

/** The user of a login as kafka-acls takes it, where the configuration names one: "User:shipper"; "User:..." otherwise. */
export function aclUser(sasl: SaslConfig | null): string {
  return `User:${sasl !== null && "username" in sasl ? sasl.username : "..."}`;
}
