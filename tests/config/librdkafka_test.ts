import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { librdkafkaConsumer } from "../../src/config/librdkafka_consumer.ts";
import { javaProducer } from "../../src/config/librdkafka_java.ts";
import { librdkafkaProducer, librdkafkaTopic } from "../../src/config/librdkafka_producer.ts";
import type { IgnoredProperty } from "../../src/config/librdkafka_property.ts";
import { kafkaProperties } from "../../src/config/librdkafka_table.ts";
import { loadConfig } from "../../src/config/load.ts";
import { kafkaSinkGroup } from "../../src/config/options_kafka_sink.ts";
import { EFFECT_ENV, effects } from "./librdkafka_effects.ts";
import { LIBRDKAFKA_CONSUMER_NAMES, LIBRDKAFKA_NAMES, LIBRDKAFKA_TOPIC_NAMES } from "./librdkafka_names.ts";

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };
const options: Readonly<Record<string, unknown>> = kafkaSinkGroup.options;

/** Loads a sink with these lines; the servers are there unless a property stands for them. */
function load(lines: string) {
  const servers = /bootstrap\.servers|metadata\.broker\.list/u.test(lines)
    ? ""
    : 'bootstrap_servers = "k:9092"\n';
  // Lines of JSON have any fields.
  const text = `# The properties stand from line 9 on.

sources.app = { type = "file", include = ["/x"], decoding.codec = "json" }
[sinks.s]
type = "kafka"
inputs = ["app"]
topic = "logs"
${servers}${lines}`;
  const { config, diagnostics } = loadConfig([{ path: "x.toml", text }], EFFECT_ENV, CONTEXT);
  return {
    sink: config === null ? null : config.sinks[0] as KafkaSinkConfig,
    diagnostics,
    text: renderDiagnostics(diagnostics, { color: false }),
  };
}

function property(name: string, value: string): string {
  return `librdkafka_options."${name}" = ${value}\n`;
}

describe("every property of librdkafka is classified", () => {
  test("those of producers, topics and consumers, and no others", () => {
    expect(Object.keys(librdkafkaProducer).sort()).toEqual([...LIBRDKAFKA_NAMES]);
    expect(Object.keys(librdkafkaTopic).sort()).toEqual([...LIBRDKAFKA_TOPIC_NAMES]);
    for (const name of LIBRDKAFKA_CONSUMER_NAMES) expect(librdkafkaConsumer[name], name).toBeDefined();
  });

  test("and so is what Airbyte's destination asks for, by the names of the Java producer", () => {
    const names =
      "acks batch.size bootstrap.servers buffer.memory client.dns.lookup client.id compression.type delivery.timeout.ms " +
      "enable.idempotence linger.ms max.block.ms max.in.flight.requests.per.connection max.request.size receive.buffer.bytes " +
      "request.timeout.ms retries sasl.jaas.config sasl.mechanism security.protocol send.buffer.bytes " +
      "socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms transaction.timeout.ms transactional.id";
    for (const name of names.split(" ")) expect(kafkaProperties.has(name), name).toBe(true);
  });

  test("no name stands in two tables", () => {
    const tables = [librdkafkaProducer, librdkafkaTopic, javaProducer, librdkafkaConsumer];
    const count = tables.map((each) => Object.keys(each).length).reduce((a, b) => a + b, 0);
    expect(kafkaProperties.size).toBe(count);
  });
});

describe("properties that stand for an option", () => {
  test("name one that there is, and each has its effect tested", () => {
    const mapped = [...kafkaProperties].filter(([, each]) => each.kind === "mapped");
    for (const [name, each] of mapped) {
      if (each.kind === "mapped") expect(options[each.option], name).toBeDefined();
    }
    expect(Object.keys(effects).sort()).toEqual(mapped.map(([name]) => name).sort());
  });

  for (const [name, cases] of Object.entries(effects)) {
    for (const { value, beside = "", config } of cases) {
      test(`${name} = ${value}`, () => {
        for (const lines of [property(name, value) + beside, `${beside}\n${property(name, value)}`]) {
          const { sink, text } = load(lines);
          expect(text).toBe("");
          expect(sink).toMatchObject(config as Record<string, unknown>);
        }
      });
    }
  }

  test("an effect is another value than the default, at least once for each", () => {
    const plain = load("").sink! as unknown as Record<string, unknown>;
    for (const [name, cases] of Object.entries(effects)) {
      // Both of these ask for what is the default; that they do something is a contradiction, tested below.
      if (name === "enable.idempotence") continue;
      const differs = cases.some(({ config, beside = "" }) => {
        const without = load(beside).sink as unknown as Record<string, unknown> | null;
        return Object.entries(config).some(([key, value]) => !Bun.deepEquals(value, (without ?? plain)[key]));
      });
      expect(differs, name).toBe(true);
    }
  });

  test("a dotted key is the same as a quoted one", () => {
    expect(load("librdkafka_options.linger.ms = 50\n").sink!.batchTimeoutMs).toBe(50);
    expect(load("librdkafka_options = { linger = { ms = 50 }, acks = 1 }\n").sink).toMatchObject({
      batchTimeoutMs: 50,
      acks: "one",
    });
  });
});

describe("a property beside the option that it stands for", () => {
  test("may say the same", () => {
    expect(load(`linger_ms = 50\n${property("linger.ms", '"50"')}`).text).toBe("");
    expect(load(property("linger.ms", "50") + property("queue.buffering.max.ms", "50")).text).toBe("");
  });

  test("may not contradict it, whichever comes first", () => {
    const pairs = [
      ["linger_ms = 49\n", property("linger.ms", "50")],
      [property("compression.type", '"gzip"'), property("compression.codec", '"lz4"')],
      ['acks = "one"\n', property("enable.idempotence", "true")],
      ["tls.enabled = false\n", property("security.protocol", '"SSL"')],
      ['security_protocol = "SASL_SSL"\n', property("security.protocol", '"SSL"')],
      [property("ssl.ca.pem", '"x"'), property("ssl.ca.location", '"y"')],
    ] as const;
    for (const [one, other] of pairs) {
      for (const [first, second] of [[one, other], [other, one]]) {
        const conflicts = load(first + second).diagnostics.filter((each) => each.code === "conflict");
        expect(conflicts.length, first + second).toBe(1);
        expect(conflicts[0]!.snippet!.line).toBe(10);
        expect(conflicts[0]!.related.map((each) => each.line)).toEqual([9]);
      }
    }
  });
});

describe("properties that no option stands for", () => {
  const ignored = [...kafkaProperties].filter((each): each is [string, IgnoredProperty] =>
    each[1].kind === "ignored"
  );

  test("are named once, with the reason, and change nothing", () => {
    const plain = load("").sink!;
    for (const [name, { severity, reason }] of ignored) {
      const { sink, diagnostics } = load(property(name, '"some-value"'));
      expect(diagnostics.length, name).toBe(1);
      const [found] = diagnostics;
      expect(found!.severity, name).toBe(severity);
      expect(found!.message, name).toContain(`"librdkafka_options.${name}"`);
      expect(found!.message, name).toContain(reason);
      if (severity === "warning") expect(sink, name).toEqual(plain);
      else expect(sink, name).toBeNull();
    }
  });

  test("pass in silence with a value that asks for what is done anyway", () => {
    for (const [name, { same }] of ignored) {
      for (const value of same) {
        expect(load(property(name, JSON.stringify(value.toUpperCase()))).text, name).toBe("");
      }
    }
    expect(load(property("enable.gapless.guarantee", "false")).text).toBe("");
  });

  test("reasons and hints are clauses: lower case or a name first, no period last", () => {
    for (const [name, { reason, hint }] of ignored) {
      expect(reason, name).toMatch(/^(?:[a-z]|TLS|Nagle).*[^.]$/u);
      if (hint !== null) expect(hint, name).toMatch(/^[a-z].*[^.]$/u);
    }
  });
});

describe("names that are not known", () => {
  test("are refused with the nearest", () => {
    const near: Readonly<Record<string, string>> = {
      "cleint.id": "client.id",
      "linger_ms": "linger.ms",
      "Compression.Type": "compression.type",
      "queue.buffering.max.message": "queue.buffering.max.messages",
      "fetch.error.backof.ms": "fetch.error.backoff.ms",
      "sasl.jaas_config": "sasl.jaas.config",
      "ssl.keypassword": "ssl.key.password",
    };
    for (const [name, wanted] of Object.entries(near)) {
      const { diagnostics } = load(property(name, '"x"'));
      expect(diagnostics.map((each) => [each.code, each.hint])).toEqual([
        ["unknown-key", `a similar property exists: "${wanted}"`],
      ]);
    }
  });

  test("are refused without one where none is near", () => {
    expect(load(property("wibble.wobble.threads", "1")).diagnostics[0]!.hint).toContain(
      "librdkafka_options.md",
    );
    expect(load(property("topic", '"x"')).diagnostics[0]!.hint).toContain("is an option of the sink");
    expect(load(property("__proto__", "1")).diagnostics.map((each) => each.code)).toEqual(["unknown-key"]);
    expect(load(property("constructor", "1")).diagnostics.map((each) => each.code)).toEqual(["unknown-key"]);
  });
});

test("values are held to what the option takes, and point at the property", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["linger.ms", '"soon"', "wrong-type"],
    ["linger.ms", "-1", "out-of-range"],
    ["batch.size", "0", "out-of-range"],
    ["acks", "2", "bad-choice"],
    ["allow.auto.create.topics", '"yes"', "wrong-type"],
    ["partitioner", '"crc16"', "bad-choice"],
    ["partitioner.class", '"com.example.Own"', "bad-choice"],
    ["sasl.mechanism", '"GSSAPI"', "bad-choice"],
    ["client.id", '["a"]', "wrong-type"],
    ["client.id", "{}", "wrong-type"],
    ["fetch.min.bytes", "[1]", "wrong-type"],
    ["client.id", '"${NOT_SET}"', "missing-env"],
    ["sasl.password", '"${NOT_SET}"', "missing-env"],
    ["queue.buffering.max.kbytes", '"all"', "wrong-type"],
  ];
  for (const [name, value, code] of cases) {
    const { sink, diagnostics } = load(property(name, value) + 'key_field = "id"\n');
    expect(diagnostics.map((each): string => each.code).filter((each) => each !== "unused-option"), name)
      .toEqual([
        code,
      ]);
    expect(diagnostics[0]!.snippet!.line, name).toBe(9);
    expect(sink).toBeNull();
  }
});

test("a secret is not shown, whatever is wrong with it", () => {
  const secret = "correcthorse";
  const names = [
    "sasl.password",
    "ssl.key.password",
    "sasl.oauthbearer.client.secret",
    "sasl.pasword",
    "sasl.jaas.config",
  ];
  for (const name of names) {
    for (const value of [`"${secret}"`, `["${secret}"]`, `{ a = "${secret}" }`, `"${secret} \${X}"`]) {
      const { text } = load(property(name, value) + 'sasl.password = "another"\n');
      expect(text, name).not.toBe("");
      expect(text, `${name} = ${value}`).not.toContain(secret);
    }
  }
});

test("any properties with any values are taken or refused, and never throw", () => {
  const name = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...kafkaProperties.keys()) },
    { weight: 1, arbitrary: fc.string({ maxLength: 12 }) },
  );
  const value = fc.constantFrom(
    ...[
      "1",
      "0",
      "-1",
      "1.5",
      "true",
      "false",
      '""',
      '"true"',
      '"x"',
      '"10"',
      "[]",
      "{}",
      "1979-05-27",
      "inf",
    ],
    ...[
      '"${NOT_SET}"',
      '"${"',
      '"$"',
      '"none"',
      '"all"',
      '"ssl"',
      '"SASL_SSL"',
      '"PLAIN"',
      '"k1,k2:1"',
      "99999999999999999999",
    ],
  );
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(name, value), { maxLength: 6, selector: ([each]) => each }),
      (entries) => {
        const lines = entries.map(([key, each]) => `librdkafka_options.${JSON.stringify(key)} = ${each}\n`)
          .join("");
        const { sink, diagnostics } = load(`key_field = "id"\n${lines}`);
        expect(sink === null, lines).toBe(diagnostics.some((each) => each.severity === "error"));
        for (const [key] of entries) {
          if (!kafkaProperties.has(key)) expect(sink, lines).toBeNull();
        }
      },
    ),
    { numRuns: 1_000, seed: 20_261_126 },
  );
});
