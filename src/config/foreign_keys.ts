import { kafkaProperties, PROPERTIES_KEY } from "./librdkafka_table.ts";
import type { OptionGroup } from "./option.ts";
import { quote } from "./source_text.ts";

/** What a key that is no option here is elsewhere. */
export interface ForeignKey {
  /** The option that says the same; null: none does. */
  readonly option: string | null;
  readonly hint: string;
}

/** Options by their names in Neptunus, Airbyte, Feldera and Filebeat, where none of ours looks like them. */
export const KAFKA_SINK_WORDS: ReadonlyMap<string, string> = new Map([
  ["required_acks", "acks"],
  ["hosts", "bootstrap_servers"],
  ["dial_timeout", "connect_timeout_ms"],
  ["format", "encoding.codec"],
  ["serializer", "encoding.codec"],
  ["headerlabels", "headers"],
  ["key_label", "key_field"],
  ["partition_balancer", "partitioner"],
  ["write_timeout", "request_timeout_ms"],
  ["interval", "batch.timeout_ms"],
  ["retry_after", "retry.interval_ms"],
  ["keep_timestamp", "timestamp_source"],
  ["topic_pattern", "topic"],
]);

/** The same for files, from Filebeat and Fluent Bit. */
export const FILE_SOURCE_WORDS: ReadonlyMap<string, string> = new Map([
  ["path", "include"],
  ["paths", "include"],
  ["exclude_files", "exclude"],
  ["exclude_path", "exclude"],
]);

/** Tables of other programs. */
const TOP_LEVEL_WORDS: ReadonlyMap<string, string> = new Map([
  ["output", "where events go is a table of its own: [sinks.events]"],
  ["outputs", "where events go is a table of its own: [sinks.events]"],
  ["input", "where events come from is a table of its own: [sources.app]"],
  ["inputs", "where events come from is a table of its own: [sources.app]"],
]);

/**
 * What `path`, which is no option of `group`, is called in another program, or as a property of Kafka's clients ("batch_size" and
 * "batch.size" are `batch.size`); null when it is nothing that is known.
 */
export function foreignKey(path: string, group: OptionGroup): ForeignKey | null {
  if (group.table === "") {
    const hint = TOP_LEVEL_WORDS.get(path);
    return hint === undefined ? null : { option: null, hint };
  }
  const isKafkaSink = group.table === "sinks.NAME" && group.type === "kafka";
  const isFileSource = group.table === "sources.NAME" && group.type === "file";
  const words = isKafkaSink ? KAFKA_SINK_WORDS : isFileSource ? FILE_SOURCE_WORDS : null;
  const option = words?.get(path);
  if (option !== undefined) return { option, hint: `its name here is ${quote(option)}` };
  return isKafkaSink ? foreignProperty(path) : null;
}

function foreignProperty(path: string): ForeignKey | null {
  const name = path.replaceAll("_", ".");
  const property = kafkaProperties.get(name);
  if (property === undefined) return null;
  if (property.kind === "mapped") {
    const { option } = property;
    return { option, hint: `set ${option}, or write ${PROPERTIES_KEY}.${quote(name)}` };
  }
  const { severity, reason, hint } = property;
  if (severity === "error" && hint !== null) return { option: null, hint };
  return { option: null, hint: `remove it: ${reason}${hint === null ? "" : `; ${hint}`}` };
}
