import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { configurationDocs } from "../../src/config/docs.ts";
import { kafkaPropertiesDocs } from "../../src/config/librdkafka_docs.ts";
import { kafkaProperties } from "../../src/config/librdkafka_table.ts";
import { allGroups } from "../../src/config/schema.ts";

test("docs/configuration.md is what scripts/generate_docs.ts writes", () => {
  const kept = readFileSync(new URL("../../docs/configuration.md", import.meta.url), "utf8");
  expect(kept === configurationDocs(), "stale: run bun scripts/generate_docs.ts").toBe(true);
});

test("docs/librdkafka_options.md is what scripts/generate_docs.ts writes, and names every property", () => {
  const kept = readFileSync(new URL("../../docs/librdkafka_options.md", import.meta.url), "utf8");
  const docs = kafkaPropertiesDocs();
  expect(kept === docs, "stale: run bun scripts/generate_docs.ts").toBe(true);
  for (const [name, property] of kafkaProperties) {
    if (property.kind === "mapped") expect(docs).toContain(`| \`${name}\` | \`${property.option}\` |`);
    else expect(docs).toContain(`\`${name}\``);
  }
});

test("the docs name every option, with its default and its range", () => {
  const docs = configurationDocs();
  for (const group of allGroups) {
    for (const key of Object.keys(group.options)) expect(docs).toContain(`### \`${key}\`\n`);
  }
  expect(docs).toContain("An integer (events), 1 to 100000000; default: `50000`");
  expect(docs).toContain("A size (bytes), 1000 to 104857600; default: `1000000`");
  expect(docs).toContain(
    '`"murmur2_random"`, `"field"`; default: `"murmur2_random"` with `key` or `key_field`, `"field"` with `partition_field`',
  );
  expect(docs).toContain("required; also `brokers`");
  expect(docs).toContain("required when `sasl.enabled` is true");
});
