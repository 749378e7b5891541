import { MEMORY_BUFFER, WITH_KEYS, withCodec } from "./librdkafka_conversions.ts";
import { leave, type Property, refused, to, unused } from "./librdkafka_property.ts";

/**
 * Properties of Kafka's Java producer that librdkafka does not have under the same name. Those that both have
 * are in librdkafka_producer.ts, and mean the same.
 */

const JVM_METRICS = unused("figures are on /metrics of [api]");
const JVM_TLS = unused(
  "what TLS may use is not an option here: TLS 1.2 and 1.3 with the runtime's own choice",
);
const JVM_LOGIN = unused("no classes are loaded to log in");
const KERBEROS = unused("shipper does not log in with Kerberos");
const TOKEN_TIMES = unused(
  "a token is replaced after half of its life, and its endpoint is waited for 10 s",
);
const TOKEN_CHECKS = unused("the broker checks tokens");
const JKS_HINT = "write them as PEM, and set ssl.truststore.certificates, or tls.ca_file";
const KEYSTORE_KIND = unused("what a file is, is seen in it: PEM, DER or PKCS#12", {
  same: ["pem", "pkcs12"],
});
const TRUSTSTORE_KIND = unused("authorities are PEM or DER", { same: ["pem"] });

const SERIALIZER = refused("encoding.codec says what a record holds", {
  same: [
    "org.apache.kafka.common.serialization.stringserializer",
    "org.apache.kafka.common.serialization.bytearrayserializer",
    "org.apache.kafka.common.serialization.bytebufferserializer",
  ],
  hint: "remove it, and set encoding.codec",
});

export const javaProducer: Readonly<Record<string, Property>> = {
  "buffer.memory": to("buffer.max_size", { onlyWith: MEMORY_BUFFER }),
  "max.request.size": to("max_message_bytes"),
  "max.block.ms": unused("sources wait while the buffer is full, and nothing is given up for that", {
    hint: 'set buffer.when_full = "drop_newest" where they must not wait',
  }),
  "partitioner.ignore.keys": to("partitioner", {
    values: { true: "sticky", false: leave() },
    onlyWith: WITH_KEYS,
  }),
  "partitioner.class": to("partitioner", {
    values: {
      "": leave(),
      "org.apache.kafka.clients.producer.roundrobinpartitioner": "round_robin",
      "org.apache.kafka.clients.producer.uniformstickypartitioner": "sticky",
      "org.apache.kafka.clients.producer.internals.defaultpartitioner": leave(),
    },
  }),
  "partitioner.adaptive.partitioning.enable": unused(
    "the partition with the least to do is always preferred",
    {
      same: ["true"],
    },
  ),
  "partitioner.availability.timeout.ms": unused("a partition without a leader is avoided at once"),
  "compression.gzip.level": to("compression_level", {
    values: { "-1": leave() },
    onlyWith: withCodec("gzip"),
  }),
  "compression.zstd.level": to("compression_level", { onlyWith: withCodec("zstd") }),
  "compression.lz4.level": unused("lz4 has no levels here"),
  "send.buffer.bytes": to("send_buffer_bytes", { values: { "-1": "0" } }),
  "receive.buffer.bytes": to("receive_buffer_bytes", { values: { "-1": "0" } }),
  "socket.connection.setup.timeout.max.ms": to("connect_timeout_max_ms"),
  "metadata.max.idle.ms": unused("topics are forgotten by their number, not by time"),
  "transaction.two.phase.commit.enable": refused("transactions are not prepared for anybody else", {
    same: ["false"],
    hint: "remove it",
  }),
  "key.serializer": SERIALIZER,
  "value.serializer": SERIALIZER,
  "interceptor.classes": unused("no classes are loaded"),
  "config.providers": unused("no classes are loaded", {
    hint: 'write "${NAME}" for a variable of the environment',
  }),
  "metric.reporters": JVM_METRICS,
  "metrics.num.samples": JVM_METRICS,
  "metrics.recording.level": JVM_METRICS,
  "metrics.sample.window.ms": JVM_METRICS,
  "auto.include.jmx.reporter": JVM_METRICS,
  "sasl.jaas.config": to("sasl.jaas_config"),
  "sasl.client.callback.handler.class": JVM_LOGIN,
  "sasl.login.callback.handler.class": JVM_LOGIN,
  "sasl.login.class": JVM_LOGIN,
  "sasl.login.connect.timeout.ms": TOKEN_TIMES,
  "sasl.login.read.timeout.ms": TOKEN_TIMES,
  "sasl.login.refresh.buffer.seconds": TOKEN_TIMES,
  "sasl.login.refresh.min.period.seconds": TOKEN_TIMES,
  "sasl.login.refresh.window.factor": TOKEN_TIMES,
  "sasl.login.refresh.window.jitter": TOKEN_TIMES,
  "sasl.login.retry.backoff.max.ms": TOKEN_TIMES,
  "sasl.login.retry.backoff.ms": TOKEN_TIMES,
  "sasl.kerberos.ticket.renew.jitter": KERBEROS,
  "sasl.kerberos.ticket.renew.window.factor": KERBEROS,
  "sasl.oauthbearer.clock.skew.seconds": TOKEN_CHECKS,
  "sasl.oauthbearer.expected.audience": TOKEN_CHECKS,
  "sasl.oauthbearer.expected.issuer": TOKEN_CHECKS,
  "sasl.oauthbearer.header.urlencode": unused("client id and secret are sent as they are", {
    same: ["false"],
  }),
  "sasl.oauthbearer.jwks.endpoint.refresh.ms": TOKEN_CHECKS,
  "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms": TOKEN_CHECKS,
  "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms": TOKEN_CHECKS,
  "sasl.oauthbearer.jwks.endpoint.url": TOKEN_CHECKS,
  "sasl.oauthbearer.scope.claim.name": TOKEN_CHECKS,
  "security.providers": JVM_TLS,
  "ssl.enabled.protocols": JVM_TLS,
  "ssl.engine.factory.class": JVM_TLS,
  "ssl.keymanager.algorithm": JVM_TLS,
  "ssl.protocol": JVM_TLS,
  "ssl.provider": JVM_TLS,
  "ssl.secure.random.implementation": JVM_TLS,
  "ssl.trustmanager.algorithm": JVM_TLS,
  "ssl.keystore.certificate.chain": to("tls.crt_file"),
  "ssl.keystore.key": to("tls.key_file"),
  "ssl.keystore.type": KEYSTORE_KIND,
  "ssl.truststore.certificates": to("tls.ca_file"),
  "ssl.truststore.location": refused("truststores are not read", { hint: JKS_HINT }),
  "ssl.truststore.password": unused("truststores are not read"),
  "ssl.truststore.type": TRUSTSTORE_KIND,
};
