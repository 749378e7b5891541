import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load.ts";

/** The example of all options in Vector's document of its Kafka sink, as it stands there. */
const EXAMPLE = readFileSync(new URL("./vector_advanced.toml", import.meta.url), "utf8");

/** The source that the example reads. */
const SOURCE = '[sources.my-source-or-transform-id]\ntype = "file"\ninclude = ["/var/log/app/*.log"]\n';

const ENV = { ENV_VAR: "edge-7", KEY_PASS_ENV_VAR: "hunter2" };
const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };

function load(sink: string) {
  return loadConfig([{ path: "vector.toml", text: sink + SOURCE }], ENV, CONTEXT);
}

function without(text: string, ...keys: readonly string[]): string {
  return text.split("\n").filter((line) => !keys.some((key) => line.trimStart().startsWith(`${key} = `)))
    .join("\n");
}

test("of Vector's example, nothing is refused but that it has both lists of fields", () => {
  const errors = load(EXAMPLE).diagnostics.filter((each) => each.severity === "error");
  expect(errors.map((each) => each.code)).toEqual(["conflict"]);
  const lists = errors[0]!;
  expect(lists.message).toBe(
    'Cannot use "encoding.only_fields" with "encoding.except_fields": one names what is encoded, the other what is not',
  );
  expect(lists.snippet!.text).toContain("encoding.only_fields");
  expect(lists.related.map((each) => each.text.trim().split(" ")[0])).toEqual(["encoding.except_fields"]);
});

test("Vector's example runs once one of the two lists is removed", () => {
  for (const removed of ["encoding.only_fields", "encoding.except_fields"]) {
    const text = without(EXAMPLE, removed)
      .replace("10.14.22.123:9092,10.14.23.332:9092", "127.0.0.1:9092,127.0.0.1:9093");
    const { config, diagnostics } = load(text);
    expect(diagnostics.filter((each) => each.severity === "error"), removed).toEqual([]);
    expect(diagnostics.map((each) => each.message)).toEqual([
      'Events of source "my-source-or-transform-id" will have an empty key: a line of text has no field "user_id"',
      'Option "librdkafka_options.fetch.error.backoff.ms" has no effect: it is for consumers',
      'Options "tls.ca_file", "tls.crt_file", "tls.key_file", "tls.key_pass" have no effect: connections are not ' +
      "encrypted, as tls.enabled is not true",
    ]);
    const sink = config!.sinks[0] as KafkaSinkConfig;
    expect(sink).toMatchObject({
      bootstrapServers: ["127.0.0.1:9092", "127.0.0.1:9093"],
      topic: "topic-1234",
      keyField: "user_id",
      partitioner: "murmur2_random",
      compression: "none",
      healthcheck: true,
      messageTimeoutMs: 300_000,
      sendBufferBytes: 100,
      socketTimeoutMs: 60_000,
      clientId: "edge-7",
      sasl: { mechanism: "SCRAM-SHA-256", username: "username", password: "password" },
      tls: null,
      buffer: { type: "memory", maxEvents: 500, maxSizeBytes: 104_900_000, whenFull: "block" },
    });
    const fields = ["timestamp", "message", "host"];
    expect(sink.encoding).toEqual({
      codec: "text",
      onlyFields: removed === "encoding.only_fields" ? null : fields,
      exceptFields: removed === "encoding.except_fields" ? null : fields,
      timestampFormat: "rfc3339",
    });
  }
});
