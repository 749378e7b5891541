import { HEADERS_MAX } from "../event/record_headers.ts";
import { choice, milliseconds, strings, text, texts } from "./option.ts";
import {
  checkFieldPath,
  checkHeaderName,
  checkTemplate,
  checkTopicName,
  checkTopicPattern,
} from "./string_checks.ts";

/** Which topics a template may name, and what becomes of events without one. */
export const topicOptions = {
  allowed_topics: strings({
    default: null,
    defaultText: "topics that begin with the text in front of the first field or time of `topic`",
    countMin: 1,
    check: checkTopicPattern,
    doc:
      "Topics that a `topic` with fields may name, whatever a line holds: names, in which `*` stands for any text. Without it a `topic` that begins " +
      "with a field may name any topic but those that begin with `__`, which `*` at the start of a pattern leaves out too.",
    example: '["logs-*", "audit"]',
  }),
  on_template_error: choice({
    values: ["drop", "fallback_topic", "dead_letter"],
    default: null,
    defaultText: '`"dead_letter"` with `dead_letter.file` or `.topic`, `"drop"` without',
    doc:
      "What becomes of an event for which `topic` names no topic: a field is missing, Kafka allows no such name, or `allowed_topics` leaves it " +
      "out. It is counted by reason in any case. `dead_letter` keeps the line as it was read.",
    example: '"fallback_topic"',
  }),
  fallback_topic: text({
    default: null,
    defaultText: "none",
    check: checkTopicName,
    doc: 'Where such events go with `on_template_error = "fallback_topic"`.',
    example: '"logs-unsorted"',
  }),
  on_topic_missing: choice({
    values: ["wait", "drop", "dead_letter"],
    default: "wait",
    doc:
      "What becomes of events of a topic that the cluster does not have, and that is not created, or that was deleted. `wait`: until somebody creates it; other topics of " +
      "the sink go on, until many events wait. `drop`: after `topic_missing_timeout_ms` they are dropped and counted, as `topic_missing`. `dead_letter`: then they become dead letters. " +
      "See [events.md](events.md#topics-that-are-not-there).",
    example: '"drop"',
  }),
  topic_missing_timeout_ms: milliseconds({
    default: 60_000,
    min: 0,
    max: 86_400_000,
    doc:
      'How long events wait for a topic with `on_topic_missing = "drop"` or `"dead_letter"`, counted from when the cluster first said that it has none.',
    example: "300000",
  }),
};

/** What stands around an event's value in its record, and which partition it goes to. */
export const routingOptions = {
  key_field: text({
    default: null,
    defaultText: "records have no key",
    check: checkFieldPath,
    doc: "The field whose value becomes the record's key. An event without it gets an empty key.",
    example: '"user_id"',
  }),
  key: text({
    default: null,
    defaultText: "what `key_field` says",
    check: checkTemplate,
    doc:
      "The record's key as a text with fields and times, as in `headers`. An event without one of the fields gets an empty key. `{{uuid}}` is a " +
      'random UUID, another one for each record; a field of that name is `{{"uuid"}}`.',
    example: '"{{host}}-{{user_id}}"',
  }),
  headers: texts({
    defaultText: "records have no headers",
    countMax: HEADERS_MAX,
    checkName: checkHeaderName,
    check: checkTemplate,
    doc:
      "Headers of every record, by their names: text, in which `{{field}}` takes a field of the event and `%Y-%m-%d` its time, as in `topic`. " +
      "`%%` is a percent sign. A header is left out of records whose event lacks one of its fields.",
    example: '{ trace = "{{trace_id}}", env = "prod" }',
  }),
  timestamp_source: choice({
    values: ["ship", "event"],
    default: "ship",
    doc:
      "The time that a record carries. `ship`: when its batch was sent. `event`: the event's own: its field `timestamp`, where that is a string as in " +
      "RFC 3339, else the time of reading. Brokers forget what they have of a producer by the time of its records, and delete records by it: see " +
      "[delivery.md](delivery.md#times-of-records).",
    example: '"event"',
  }),
  partitioner: choice({
    values: [
      "sticky",
      "round_robin",
      "least_bytes",
      "fnv1a",
      "fnv1a_consistent",
      "fnv1a_reference",
      "consistent",
      "consistent_random",
      "murmur2",
      "murmur2_random",
      "field",
    ],
    choiceAliases: {
      "round-robin": "round_robin",
      "least-bytes": "least_bytes",
      "fnv-1a": "fnv1a",
      "fnv1a_random": "fnv1a",
      "fnv-1a-reference": "fnv1a_reference",
      "consistent-random": "consistent_random",
      "murmur2-random": "murmur2_random",
      "label": "field",
    },
    default: null,
    defaultText:
      '`"murmur2_random"` with `key` or `key_field`, `"field"` with `partition_field` alone, `"sticky"` with none of them',
    doc:
      "How a record's partition is chosen. `sticky`: whole batches to one partition after the other. `round_robin`, `least_bytes`: record by " +
      "record. `field`: the partition that `partition_field` names. The others go by the key, each as the client that it is named after " +
      "([events.md](events.md#partitions)); `murmur2_random` is what Kafka's Java client does. Neptunus' spellings, such as `fnv-1a`, mean the same.",
    example: '"sticky"',
  }),
  partition_field: text({
    default: null,
    defaultText: "none",
    check: checkFieldPath,
    doc:
      'The field that holds the number of the partition, for `partitioner = "field"`. An event goes to partition 0 when it lacks the field, or ' +
      "names a partition that the topic does not have.",
    example: '"shard"',
  }),
};
