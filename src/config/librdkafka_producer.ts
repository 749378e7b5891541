import {
  DEFAULT_PORT,
  FIRST_TRY_TOO,
  INTERVAL_SECS,
  KIB,
  MEMORY_BUFFER,
  WHOLE_MS,
  WITH_KEYS,
} from "./librdkafka_conversions.ts";
import { leave, program, type Property, refused, to, unused } from "./librdkafka_property.ts";

/** librdkafka's properties of producers and of every client, as of its version 2.x, by what they are about. */

const LOG = unused("log.level and log.format say what is logged");
const ALWAYS_ASKED = unused("brokers are asked for their versions at every connection");
const METADATA_PAUSES = unused(
  "after an error metadata is asked for at once, and again with the pauses of retry.interval_ms",
);
const RECONNECT = unused(
  "the pauses between connections are those of retry.interval_ms and retry.max_interval_ms",
);
const REBOOTSTRAP_REASON = "bootstrap_servers are asked again whenever no other broker answers";
const KERBEROS = unused("shipper does not log in with Kerberos");
const OAUTH_CLAIMS = unused(
  "tokens are fetched with a client id and its secret, not with a signed assertion",
);
const OPENSSL = unused("TLS is not done by OpenSSL");
const CIPHERS = unused(
  "what TLS may use is not an option here: TLS 1.2 and 1.3 with the runtime's own choice",
);
const RETRIES = to("retry.max_attempts", { values: { "2147483647": "0" }, convert: FIRST_TRY_TOO });
const MESSAGE_TIMEOUT = to("message_timeout_ms");

const COMPRESSION = to("compression", { values: { inherit: leave() } });

const connectionProperties: Readonly<Record<string, Property>> = {
  "client.id": to("client_id"),
  "bootstrap.servers": to("bootstrap_servers", { convert: DEFAULT_PORT }),
  "metadata.broker.list": to("bootstrap_servers", { convert: DEFAULT_PORT }),
  "max.in.flight": to("max_in_flight"),
  "max.in.flight.requests.per.connection": to("max_in_flight"),
  "message.max.bytes": to("max_message_bytes"),
  "message.copy.max.bytes": unused("every record is copied once, whatever its size"),
  "receive.message.max.bytes": unused("answers to a producer are small, and have a limit of their own"),
  "metadata.recovery.strategy": unused(REBOOTSTRAP_REASON, { same: ["rebootstrap"] }),
  "metadata.recovery.rebootstrap.trigger.ms": unused(REBOOTSTRAP_REASON),
  "metadata.max.age.ms": unused("metadata is as old as metadata_refresh_ms lets it be", {
    hint: "set metadata_refresh_ms",
  }),
  "topic.metadata.refresh.interval.ms": to("metadata_refresh_ms"),
  "topic.metadata.refresh.fast.interval.ms": METADATA_PAUSES,
  "topic.metadata.refresh.fast.cnt": METADATA_PAUSES,
  "topic.metadata.refresh.sparse": unused("metadata is asked for by topic", { same: ["true", "t", "1"] }),
  "topic.metadata.propagation.max.ms": unused("events wait for a topic that does not exist yet"),
  "topic.blacklist": refused("there is no list of topics that must not be written to", {
    hint: "remove it, and name the topics to write to in topic",
  }),
  "allow.auto.create.topics": to("topics_autocreate"),
  "socket.timeout.ms": to("socket_timeout_ms"),
  "socket.connection.setup.timeout.ms": to("connect_timeout_ms"),
  "socket.send.buffer.bytes": to("send_buffer_bytes"),
  "socket.receive.buffer.bytes": to("receive_buffer_bytes"),
  "socket.keepalive.enable": unused("keep-alive is on for every connection", { same: ["true", "t", "1"] }),
  "socket.nagle.disable": unused("Nagle's algorithm is off for every connection", {
    same: ["true", "t", "1"],
  }),
  "socket.max.fails": unused("a connection is given up at the first request without an answer", {
    same: ["1"],
  }),
  "socket.blocking.max.ms": unused("no thread blocks on a connection"),
  "broker.address.ttl": unused("names are looked up at every connection"),
  "broker.address.family": unused("all addresses of a name are tried, IPv4 and IPv6", { same: ["any"] }),
  "client.dns.lookup": to("dns_lookup"),
  "connections.max.idle.ms": unused("a connection stays open until the broker closes it", { same: ["0"] }),
  "reconnect.backoff.ms": RECONNECT,
  "reconnect.backoff.max.ms": RECONNECT,
  "reconnect.backoff.jitter.ms": RECONNECT,
  "retry.backoff.ms": to("retry.interval_ms"),
  "retry.backoff.max.ms": to("retry.max_interval_ms"),
  "statistics.interval.ms": to("metrics_interval_secs", { convert: INTERVAL_SECS }),
  "enable.metrics.push": unused("figures are pushed to no broker", { same: ["false", "f", "0"] }),
  "api.version.request": ALWAYS_ASKED,
  "api.version.request.timeout.ms": ALWAYS_ASKED,
  "api.version.fallback.ms": ALWAYS_ASKED,
  "broker.version.fallback": ALWAYS_ASKED,
};

const securityProperties: Readonly<Record<string, Property>> = {
  "security.protocol": to("security_protocol"),
  "ssl.ca.location": to("tls.ca_file", { values: { probe: leave() } }),
  "ssl.ca.pem": to("tls.ca_file"),
  "ssl.certificate.location": to("tls.crt_file"),
  "ssl.certificate.pem": to("tls.crt_file"),
  "ssl.key.location": to("tls.key_file"),
  "ssl.key.pem": to("tls.key_file"),
  "ssl.key.password": to("tls.key_pass"),
  "ssl.endpoint.identification.algorithm": to("tls.verify_hostname", {
    values: { https: "true", none: "false", "": "false" },
  }),
  "enable.ssl.certificate.verification": refused("the brokers' certificates are always verified", {
    same: ["true", "t", "1"],
    hint: "remove it, and name the authority that signed them in tls.ca_file",
  }),
  "ssl.keystore.location": to("tls.crt_file"),
  "ssl.keystore.password": to("tls.key_pass"),
  "ssl.crl.location": refused("revoked certificates are not looked up", {
    hint: "remove it, and let tls.ca_file name an authority whose certificates can all be trusted",
  }),
  "ssl.ca.certificate.stores": unused("it is about stores of Windows"),
  "ssl.cipher.suites": CIPHERS,
  "ssl.curves.list": CIPHERS,
  "ssl.sigalgs.list": CIPHERS,
  "ssl.providers": OPENSSL,
  "ssl.engine.location": OPENSSL,
  "ssl.engine.id": OPENSSL,
  "https.ca.location": to("sasl.oauthbearer.ca_file", { values: { probe: leave() } }),
  "https.ca.pem": to("sasl.oauthbearer.ca_file"),
  "sasl.mechanism": to("sasl.mechanism"),
  "sasl.mechanisms": to("sasl.mechanism"),
  "sasl.username": to("sasl.username"),
  "sasl.password": to("sasl.password"),
  "sasl.kerberos.service.name": KERBEROS,
  "sasl.kerberos.principal": KERBEROS,
  "sasl.kerberos.kinit.cmd": KERBEROS,
  "sasl.kerberos.keytab": KERBEROS,
  "sasl.kerberos.min.time.before.relogin": KERBEROS,
  "enable.sasl.oauthbearer.unsecure.jwt": refused("shipper makes no tokens of its own", {
    same: ["false", "f", "0"],
    hint: "remove it, and set sasl.oauthbearer.token_file",
  }),
  "sasl.oauthbearer.config": refused("it is about tokens that are made without a provider", {
    hint: "remove it, and set sasl.oauthbearer.token_file",
  }),
  "sasl.oauthbearer.method": refused("shipper has no callback that makes tokens", {
    same: ["oidc"],
    hint: "remove it, and set sasl.oauthbearer.token_file or sasl.oauthbearer.token_endpoint_url",
  }),
  "sasl.oauthbearer.client.id": to("sasl.oauthbearer.client_id"),
  "sasl.oauthbearer.client.secret": to("sasl.oauthbearer.client_secret"),
  "sasl.oauthbearer.client.credentials.client.id": to("sasl.oauthbearer.client_id"),
  "sasl.oauthbearer.client.credentials.client.secret": to("sasl.oauthbearer.client_secret"),
  "sasl.oauthbearer.scope": to("sasl.oauthbearer.scope"),
  "sasl.oauthbearer.extensions": to("sasl.oauthbearer.extensions"),
  "sasl.oauthbearer.token.endpoint.url": to("sasl.oauthbearer.token_endpoint_url"),
  "sasl.oauthbearer.sub.claim.name": unused("the broker reads the user from the token"),
  "sasl.oauthbearer.grant.type": refused("tokens are fetched with a client id and its secret alone", {
    same: ["client_credentials"],
    hint: "remove it, and set sasl.oauthbearer.client_id and sasl.oauthbearer.client_secret",
  }),
  "sasl.oauthbearer.assertion.algorithm": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.private.key.file": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.private.key.passphrase": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.private.key.pem": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.file": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.claim.aud": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.claim.exp.seconds": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.claim.iss": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.claim.jti.include": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.claim.nbf.seconds": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.claim.sub": OAUTH_CLAIMS,
  "sasl.oauthbearer.assertion.jwt.template.file": OAUTH_CLAIMS,
  "sasl.oauthbearer.metadata.authentication.type": refused("tokens are not fetched from a cloud's metadata", {
    same: ["none"],
    hint: "remove it, and set sasl.oauthbearer.token_file",
  }),
};

const libraryProperties: Readonly<Record<string, Property>> = {
  "builtin.features": unused("it tells what librdkafka was built with"),
  "debug": unused("librdkafka is not used", { hint: 'set log.level = "debug"' }),
  "log_level": LOG,
  "log.queue": LOG,
  "log.thread.name": LOG,
  "log.connection.close": LOG,
  "enable.random.seed": unused("it is about the inner workings of librdkafka"),
  "internal.termination.signal": unused("it is about the inner workings of librdkafka"),
  "plugin.library.paths": unused("no plugins are loaded"),
  "client.rack": unused("producers write to leaders, wherever they are"),
  "enabled_events": program,
  "error_cb": program,
  "throttle_cb": program,
  "stats_cb": program,
  "log_cb": program,
  "background_event_cb": program,
  "socket_cb": program,
  "connect_cb": program,
  "closesocket_cb": program,
  "open_cb": program,
  "resolve_cb": program,
  "opaque": program,
  "default_topic_conf": program,
  "interceptors": program,
  "oauthbearer_token_refresh_cb": program,
  "ssl_key": program,
  "ssl_certificate": program,
  "ssl_ca": program,
  "ssl_engine_callback_data": program,
  "ssl.certificate.verify_cb": program,
  "dr_cb": program,
  "dr_msg_cb": program,
};

const producerProperties: Readonly<Record<string, Property>> = {
  "transactional.id": to("transactional_id"),
  "transaction.timeout.ms": to("transaction_timeout_ms"),
  "enable.idempotence": to("acks", {
    values: {
      true: "all",
      t: "all",
      "1": "all",
      false: leave('batches are numbered whenever acks = "all"'),
      f: leave('batches are numbered whenever acks = "all"'),
      "0": leave('batches are numbered whenever acks = "all"'),
    },
  }),
  "enable.gapless.guarantee": refused("a record that the broker will never take is counted and left out", {
    same: ["false", "f", "0"],
    hint: "remove it, and set gap_markers = true so that readers see where something is missing",
  }),
  "queue.buffering.max.messages": to("buffer.max_events", { onlyWith: MEMORY_BUFFER }),
  "queue.buffering.max.kbytes": to("buffer.max_size", { convert: KIB, onlyWith: MEMORY_BUFFER }),
  "queue.buffering.max.ms": to("batch.timeout_ms", { convert: WHOLE_MS }),
  "linger.ms": to("batch.timeout_ms", { convert: WHOLE_MS }),
  "queue.buffering.backpressure.threshold": unused(
    "a partition has one batch in flight, and fills the next meanwhile",
  ),
  "message.send.max.retries": RETRIES,
  "retries": RETRIES,
  "compression.codec": COMPRESSION,
  "compression.type": COMPRESSION,
  "batch.num.messages": to("batch.max_events"),
  "batch.size": to("batch.max_bytes"),
  "delivery.report.only.error": unused("what became of events is counted in the metrics"),
  "sticky.partitioning.linger.ms": unused("a partition is kept until its batch is sent"),
};

/** Those that librdkafka has for each topic; here they are the sink's, as all others. */
export const librdkafkaTopic: Readonly<Record<string, Property>> = {
  "acks": to("acks"),
  "request.required.acks": to("acks"),
  "request.timeout.ms": to("request_timeout_ms"),
  "message.timeout.ms": MESSAGE_TIMEOUT,
  "delivery.timeout.ms": MESSAGE_TIMEOUT,
  "queuing.strategy": refused("events are sent in the order in which they are read", {
    same: ["fifo"],
    hint: "remove it",
  }),
  "produce.offset.report": unused("it has no effect in librdkafka either"),
  "partitioner": to("partitioner", {
    // librdkafka hashes an absent key with it, other than with "fnv1a_random", which is what kafka-go does.
    values: { random: "sticky", fnv1a: "fnv1a_consistent", fnv1a_random: "fnv1a" },
    onlyWith: WITH_KEYS,
  }),
  "compression.level": to("compression_level", { values: { "-1": leave() } }),
  "partitioner_cb": program,
  "msg_order_cmp": program,
};

export const librdkafkaProducer: Readonly<Record<string, Property>> = {
  ...connectionProperties,
  ...securityProperties,
  ...libraryProperties,
  ...producerProperties,
};
