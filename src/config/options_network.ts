import { choice, milliseconds, seconds, size } from "./option.ts";

const SOCKET_BUFFER_MAX_BYTES = 1_073_741_824;

/** Options of the Kafka sink about how connections are made, and what is logged of the sink all along. */
export const networkOptions = {
  connect_timeout_max_ms: milliseconds({
    default: null,
    defaultText: "`30000`, or `connect_timeout_ms` where that is more",
    min: 100,
    max: 3_600_000,
    doc:
      "Each attempt in a row to reach a broker that fails doubles the time that the next one may take, from `connect_timeout_ms` " +
      "up to this.",
    example: "60000",
  }),
  dns_lookup: choice({
    values: ["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"],
    ignoreCase: true,
    default: "use_all_dns_ips",
    doc:
      "`use_all_dns_ips`: all addresses of a name are tried, one after the other. `resolve_canonical_bootstrap_servers_only`: so too, and " +
      "each address of `bootstrap_servers` is looked up for its canonical name, which the broker's certificate has to be made out to; for an " +
      "alias that stands for many brokers.",
    example: '"resolve_canonical_bootstrap_servers_only"',
  }),
  send_buffer_bytes: size({
    default: 0,
    min: 0,
    max: SOCKET_BUFFER_MAX_BYTES,
    doc:
      "What the system holds for sending on a connection (SO_SNDBUF); `0`: what it thinks best, and adjusts. Linux doubles it for its own " +
      "needs and limits it by `net.core.wmem_max`. On other systems it has no effect, which is warned about.",
    example: '"512KiB"',
  }),
  receive_buffer_bytes: size({
    default: 0,
    min: 0,
    max: SOCKET_BUFFER_MAX_BYTES,
    doc: "The same for receiving (SO_RCVBUF, `net.core.rmem_max`). A producer receives little.",
    example: '"64KiB"',
  }),
  metrics_interval_secs: seconds({
    default: 0,
    min: 2,
    max: 86_400,
    special: 0,
    doc:
      "How often a line with the sink's figures is logged, at level `info`; `0`: never. The same figures are on `/metrics` of `[api]` at any time.",
    example: "60",
  }),
};
