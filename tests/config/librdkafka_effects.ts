import type { PartitionerName } from "../../src/batch/partitioners.ts";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import type { OAuthSasl, OAuthTokenSource } from "../../src/config/config_security.ts";

/** What one property does to the configuration that is built. */
export interface Effect {
  /** As it is written in TOML, after the equals sign. */
  readonly value: string;
  /** Other lines of the sink that it needs to be valid. */
  readonly beside?: string;
  readonly config: Partial<KafkaSinkConfig>;
}

const SASL = 'sasl.enabled = true\nsasl.mechanism = "SCRAM-SHA-256"\n';
const LOGIN = 'sasl.username = "u"\nsasl.password = "p"\n';
const sasl = { mechanism: "SCRAM-SHA-256", username: "u", password: "p" } as const;
const tls = { ca: null, crt: null, key: null, keyPass: null, verifyHostname: true, serverName: null };
const OAUTH = 'tls.enabled = true\nsasl.enabled = true\nsasl.mechanism = "OAUTHBEARER"\n';
const URL = 'sasl.oauthbearer.token_endpoint_url = "https://id/t"\n';
const ID = 'sasl.oauthbearer.client_id = "c"\n';
const SECRET = 'sasl.oauthbearer.client_secret = "s"\n';

/** A login with a token that is fetched. */
function oidc(facts: Partial<Extract<OAuthTokenSource, { kind: "oidc" }>>, extensions = {}): OAuthSasl {
  const source = { kind: "oidc", url: "https://id/t", clientId: "c", clientSecret: "s" } as const;
  return {
    mechanism: "OAUTHBEARER",
    source: { ...source, scope: null, audience: null, ca: null, ...facts },
    extensions,
  };
}
const TRANSACTIONAL = 'delivery = "transactional"';
const PEM = "-----BEGIN CERTIFICATE-----\\nMII\\n-----END CERTIFICATE-----";
const KEY_PEM = "-----BEGIN ENCRYPTED PRIVATE KEY-----\\nMII\\n-----END ENCRYPTED PRIVATE KEY-----";
const CRT = 'tls.enabled = true\ntls.crt_file = "/c"\n';
const KEY = 'tls.enabled = true\ntls.key_file = "/k"\n';
const buffer = { type: "memory", maxEvents: 50_000, maxSizeBytes: 67_108_864, whenFull: "block" } as const;

function lines(pem: string): string {
  return pem.replaceAll("\\n", "\n");
}

const LIBRDKAFKA: Readonly<Record<string, readonly Effect[]>> = {
  "client.id": [{ value: '"edge"', config: { clientId: "edge" } }],
  "bootstrap.servers": [
    { value: '"k1:9093, k2"', config: { bootstrapServers: ["k1:9093", "k2:9092"] } },
    { value: '"[::1]"', config: { bootstrapServers: ["[::1]:9092"] } },
  ],
  "metadata.broker.list": [{ value: '"k1"', config: { bootstrapServers: ["k1:9092"] } }],
  "message.max.bytes": [{ value: '"2000"', config: { maxMessageBytes: 2_000 } }],
  "max.in.flight": [{ value: "7", config: { maxInFlight: 7 } }],
  "max.in.flight.requests.per.connection": [{ value: '"7"', config: { maxInFlight: 7 } }],
  "topic.metadata.refresh.interval.ms": [{ value: "1000", config: { metadataRefreshMs: 1_000 } }],
  "allow.auto.create.topics": [
    { value: '"true"', config: { topicsAutocreate: true } },
    { value: "false", config: { topicsAutocreate: false } },
    { value: "1", config: { topicsAutocreate: true } },
  ],
  "socket.timeout.ms": [{ value: '"7000"', config: { socketTimeoutMs: 7_000, requestTimeoutMs: 7_000 } }],
  "socket.connection.setup.timeout.ms": [{ value: "9000", config: { connectTimeoutMs: 9_000 } }],
  "socket.send.buffer.bytes": [
    { value: '"100"', config: { sendBufferBytes: 100 } },
    { value: "0", config: { sendBufferBytes: 0 } },
  ],
  "socket.receive.buffer.bytes": [{ value: "65536", config: { receiveBufferBytes: 65_536 } }],
  "client.dns.lookup": [
    {
      value: '"resolve_canonical_bootstrap_servers_only"',
      config: { dnsLookup: "resolve_canonical_bootstrap_servers_only" },
    },
    { value: '"use_all_dns_ips"', config: { dnsLookup: "use_all_dns_ips" } },
  ],
  "statistics.interval.ms": [
    { value: '"60000"', config: { metricsIntervalMs: 60_000 } },
    { value: "2500", config: { metricsIntervalMs: 2_500 } },
    { value: "500", config: { metricsIntervalMs: 2_000 } },
    { value: "0", config: { metricsIntervalMs: 0 } },
  ],
  "retry.backoff.ms": [{ value: "250", config: { retryIntervalMs: 250 } }],
  "retry.backoff.max.ms": [{ value: "2000", config: { retryMaxIntervalMs: 2_000 } }],
  "security.protocol": [
    { value: '"ssl"', config: { tls, sasl: null } },
    { value: '"plaintext"', config: { tls: null, sasl: null } },
    { value: '"sasl_ssl"', beside: SASL + LOGIN, config: { tls, sasl } },
  ],
  "ssl.ca.location": [
    { value: '"/ca.pem"', beside: "tls.enabled = true", config: { tls: { ...tls, ca: "/ca.pem" } } },
    { value: '"probe"', beside: "tls.enabled = true", config: { tls } },
  ],
  "ssl.ca.pem": [
    { value: `"${PEM}"`, beside: "tls.enabled = true", config: { tls: { ...tls, ca: lines(PEM) } } },
  ],
  "ssl.certificate.location": [
    { value: '"/crt"', beside: KEY, config: { tls: { ...tls, crt: "/crt", key: "/k" } } },
  ],
  "ssl.certificate.pem": [
    { value: `"${PEM}"`, beside: KEY, config: { tls: { ...tls, crt: lines(PEM), key: "/k" } } },
  ],
  "ssl.key.location": [{ value: '"/key"', beside: CRT, config: { tls: { ...tls, crt: "/c", key: "/key" } } }],
  "ssl.key.pem": [
    { value: `"${KEY_PEM}"`, beside: CRT, config: { tls: { ...tls, crt: "/c", key: lines(KEY_PEM) } } },
  ],
  "ssl.key.password": [
    {
      value: '"${KEY_PASS}"',
      beside: `${CRT}tls.key_file = "/k"`,
      config: { tls: { ...tls, crt: "/c", key: "/k", keyPass: "k$k" } },
    },
  ],
  "ssl.endpoint.identification.algorithm": [
    { value: '"none"', beside: "tls.enabled = true", config: { tls: { ...tls, verifyHostname: false } } },
    { value: '""', beside: "tls.enabled = true", config: { tls: { ...tls, verifyHostname: false } } },
    { value: '"https"', beside: "tls.enabled = true", config: { tls } },
  ],
  "sasl.mechanism": [
    {
      value: '"scram-sha-512"',
      beside: `sasl.enabled = true\n${LOGIN}`,
      config: { sasl: { ...sasl, mechanism: "SCRAM-SHA-512" } },
    },
  ],
  "sasl.mechanisms": [
    {
      value: '"SCRAM-SHA-512"',
      beside: `sasl.enabled = true\n${LOGIN}`,
      config: { sasl: { ...sasl, mechanism: "SCRAM-SHA-512" } },
    },
  ],
  "sasl.username": [
    { value: '"me"', beside: `${SASL}sasl.password = "p"`, config: { sasl: { ...sasl, username: "me" } } },
    { value: "4711", beside: `${SASL}sasl.password = "p"`, config: { sasl: { ...sasl, username: "4711" } } },
  ],
  "sasl.password": [
    { value: '"a$$b"', beside: `${SASL}sasl.username = "u"`, config: { sasl: { ...sasl, password: "a$b" } } },
    {
      value: "12345678901234567890",
      beside: `${SASL}sasl.username = "u"`,
      config: { sasl: { ...sasl, password: "12345678901234567890" } },
    },
  ],
  "https.ca.location": [
    { value: '"/id.pem"', beside: OAUTH + URL + ID + SECRET, config: { sasl: oidc({ ca: "/id.pem" }) } },
    { value: '"probe"', beside: OAUTH + URL + ID + SECRET, config: { sasl: oidc({}) } },
  ],
  "https.ca.pem": [
    { value: `"${PEM}"`, beside: OAUTH + URL + ID + SECRET, config: { sasl: oidc({ ca: lines(PEM) }) } },
  ],
  "sasl.oauthbearer.client.id": [
    { value: '"me"', beside: OAUTH + URL + SECRET, config: { sasl: oidc({ clientId: "me" }) } },
  ],
  "sasl.oauthbearer.client.credentials.client.id": [
    { value: '"me"', beside: OAUTH + URL + SECRET, config: { sasl: oidc({ clientId: "me" }) } },
  ],
  "sasl.oauthbearer.client.secret": [
    { value: '"a$$b"', beside: OAUTH + URL + ID, config: { sasl: oidc({ clientSecret: "a$b" }) } },
  ],
  "sasl.oauthbearer.client.credentials.client.secret": [
    { value: '"a$$b"', beside: OAUTH + URL + ID, config: { sasl: oidc({ clientSecret: "a$b" }) } },
  ],
  "sasl.oauthbearer.scope": [
    { value: '"kafka"', beside: OAUTH + URL + ID + SECRET, config: { sasl: oidc({ scope: "kafka" }) } },
  ],
  "sasl.oauthbearer.extensions": [
    {
      value: '"a=1, b=x=2"',
      beside: OAUTH + URL + ID + SECRET,
      config: { sasl: oidc({}, { a: "1", b: "x=2" }) },
    },
  ],
  "sasl.oauthbearer.token.endpoint.url": [
    {
      value: '"https://id/t2"',
      beside: OAUTH + ID + SECRET,
      config: { sasl: oidc({ url: "https://id/t2" }) },
    },
  ],
  "ssl.keystore.location": [
    { value: '"/store"', beside: "tls.enabled = true", config: { tls: { ...tls, crt: "/store" } } },
  ],
  "ssl.keystore.password": [
    {
      value: '"p"',
      beside: 'tls.enabled = true\ntls.crt_file = "/c.p12"',
      config: { tls: { ...tls, crt: "/c.p12", keyPass: "p" } },
    },
  ],
  "enable.idempotence": [{ value: '"true"', config: { acks: "all", delivery: "exactly_once" } }],
  "transactional.id": [
    { value: '"shipper-1"', beside: TRANSACTIONAL, config: { transactionalId: "shipper-1" } },
  ],
  "transaction.timeout.ms": [
    { value: '"30000"', beside: TRANSACTIONAL, config: { transactionTimeoutMs: 30_000 } },
  ],
  "message.send.max.retries": [
    { value: '"3"', config: { retryMaxAttempts: 4 } },
    { value: "2147483647", config: { retryMaxAttempts: 0 } },
  ],
  "retries": [{ value: "0", config: { retryMaxAttempts: 1 } }],
  "queue.buffering.max.messages": [{ value: "10", config: { buffer: { ...buffer, maxEvents: 10 } } }],
  "queue.buffering.max.kbytes": [
    { value: "2048", config: { buffer: { ...buffer, maxSizeBytes: 2_097_152 } } },
  ],
  "queue.buffering.max.ms": [{ value: "0.2", config: { batchTimeoutMs: 1 } }],
  "linger.ms": [
    { value: '"50"', config: { batchTimeoutMs: 50 } },
    { value: "7.5", config: { batchTimeoutMs: 8 } },
    { value: '"${LINGER}"', config: { batchTimeoutMs: 30 } },
  ],
  "compression.codec": [{ value: '"lz4"', config: { compression: "lz4" } }],
  "compression.type": [
    { value: '"zstd"', config: { compression: "zstd" } },
    { value: '"inherit"', config: { compression: "none" } },
  ],
  "batch.num.messages": [{ value: "100", config: { batchMaxEvents: 100 } }],
  "batch.size": [{ value: "16384", config: { batchMaxBytes: 16_384 } }],
  "acks": [
    { value: '"1"', config: { acks: "one", delivery: "at_least_once" } },
    { value: "0", config: { acks: "none" } },
    { value: "-1", config: { acks: "all" } },
    { value: '"all"', config: { acks: "all" } },
  ],
  "request.required.acks": [{ value: "1", config: { acks: "one" } }],
  "request.timeout.ms": [{ value: "4000", config: { requestTimeoutMs: 4_000 } }],
  "message.timeout.ms": [
    { value: '"300000"', config: { messageTimeoutMs: 300_000 } },
    { value: "0", config: { messageTimeoutMs: 0 } },
  ],
  "delivery.timeout.ms": [{ value: "120000", config: { messageTimeoutMs: 120_000 } }],
  "partitioner": [
    ...["consistent", "consistent_random", "murmur2", "murmur2_random"].map((name) => (
      { value: `"${name}"`, beside: 'key = "{{id}}"', config: { partitioner: name as PartitionerName } }
    )),
    { value: '"fnv1a"', beside: 'key = "{{id}}"', config: { partitioner: "fnv1a_consistent" } },
    { value: '"fnv1a_random"', beside: 'key_field = "id"', config: { partitioner: "fnv1a" } },
    { value: '"random"', beside: 'key_field = "id"', config: { partitioner: "sticky" } },
  ],
  "compression.level": [
    { value: "3", beside: 'compression = "zstd"', config: { compressionLevel: 3 } },
    { value: '"-1"', beside: 'compression = "zstd"', config: { compressionLevel: null } },
  ],
};

const JAVA: Readonly<Record<string, readonly Effect[]>> = {
  "send.buffer.bytes": [
    { value: "131072", config: { sendBufferBytes: 131_072 } },
    { value: '"-1"', config: { sendBufferBytes: 0 } },
  ],
  "receive.buffer.bytes": [{ value: "32768", config: { receiveBufferBytes: 32_768 } }],
  "socket.connection.setup.timeout.max.ms": [{ value: "45000", config: { connectTimeoutMaxMs: 45_000 } }],
  "buffer.memory": [{ value: "33554432", config: { buffer: { ...buffer, maxSizeBytes: 33_554_432 } } }],
  "max.request.size": [{ value: "2000", config: { maxMessageBytes: 2_000 } }],
  "partitioner.ignore.keys": [
    { value: '"true"', beside: 'key_field = "id"', config: { partitioner: "sticky" } },
    { value: "false", beside: 'key_field = "id"', config: { partitioner: "murmur2_random" } },
  ],
  "partitioner.class": [
    {
      value: '"org.apache.kafka.clients.producer.RoundRobinPartitioner"',
      config: { partitioner: "round_robin" },
    },
    {
      value: '"org.apache.kafka.clients.producer.UniformStickyPartitioner"',
      config: { partitioner: "sticky" },
    },
    {
      value: '"org.apache.kafka.clients.producer.internals.DefaultPartitioner"',
      beside: 'key_field = "id"',
      config: { partitioner: "murmur2_random" },
    },
    { value: '""', config: { partitioner: "sticky" } },
  ],
  "compression.gzip.level": [
    { value: "6", beside: 'librdkafka_options."compression.type" = "gzip"', config: { compressionLevel: 6 } },
  ],
  "compression.zstd.level": [{ value: "6", beside: 'compression = "zstd"', config: { compressionLevel: 6 } }],
  "sasl.jaas.config": [
    {
      value: `'org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="p";'`,
      beside: SASL,
      config: { sasl },
    },
  ],
  "ssl.keystore.certificate.chain": [
    { value: `"${PEM}"`, beside: KEY, config: { tls: { ...tls, crt: lines(PEM), key: "/k" } } },
  ],
  "ssl.keystore.key": [
    { value: `"${KEY_PEM}"`, beside: CRT, config: { tls: { ...tls, crt: "/c", key: lines(KEY_PEM) } } },
  ],
  "ssl.truststore.certificates": [
    { value: `"${PEM}"`, beside: "tls.enabled = true", config: { tls: { ...tls, ca: lines(PEM) } } },
  ],
};

/** For every property that stands for an option, at least one value and what it has to come to. */
export const effects: Readonly<Record<string, readonly Effect[]>> = { ...LIBRDKAFKA, ...JAVA };

export const EFFECT_ENV: Readonly<Record<string, string>> = { KEY_PASS: "k$k", LINGER: "30" };
