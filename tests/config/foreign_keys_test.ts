import { expect, test } from "bun:test";
import { FILE_SOURCE_WORDS, foreignKey, KAFKA_SINK_WORDS } from "../../src/config/foreign_keys.ts";
import { kafkaProperties } from "../../src/config/librdkafka_table.ts";
import type { OptionGroup } from "../../src/config/option.ts";
import { allGroups, sinkGroups, sourceGroups } from "../../src/config/schema.ts";

const kafkaSink = sinkGroups.get("kafka")!;
const fileSource = sourceGroups.get("file")!;

test("words of other programs are no options here, and lead to options that there are", () => {
  const tables: [ReadonlyMap<string, string>, OptionGroup][] = [
    [KAFKA_SINK_WORDS, kafkaSink],
    [FILE_SOURCE_WORDS, fileSource],
  ];
  for (const [words, group] of tables) {
    const names = Object.entries(group.options).flatMap(([key, { aliases }]) => [key, ...aliases]);
    for (const [word, option] of words) {
      expect(names, word).not.toContain(word);
      expect(Object.keys(group.options), word).toContain(option);
      expect(foreignKey(word, group)).toEqual({ option, hint: `its name here is "${option}"` });
    }
  }
});

test("a property of Kafka's clients is known with dots and with underscores, in a Kafka sink alone", () => {
  for (const [name, property] of kafkaProperties) {
    // One that has an underscore of its own is a callback, which nobody writes with dots.
    if (name.includes("_") || KAFKA_SINK_WORDS.has(name)) continue;
    const found = foreignKey(name, kafkaSink);
    expect(found?.option, name).toBe(property.kind === "mapped" ? property.option : null);
    expect(foreignKey(name.replaceAll(".", "_"), kafkaSink)).toEqual(found);
  }
  expect(foreignKey("compression_type", sinkGroups.get("console")!)).toBeNull();
  expect(foreignKey("compression_type", fileSource)).toBeNull();
  expect(foreignKey("frobnicate", kafkaSink)).toBeNull();
});

test("tables of other programs are told apart from ours", () => {
  const top = allGroups.find(({ table }) => table === "")!;
  expect(foreignKey("outputs", top)?.hint).toContain("[sinks.events]");
  expect(foreignKey("input", top)?.hint).toContain("[sources.app]");
  expect(foreignKey("output", kafkaSink)).toBeNull();
});
