import { choice, size, text } from "./option.ts";
import { MIB } from "./options_sink_common.ts";
import { checkPath, checkTopicName } from "./string_checks.ts";

/** Options of the Kafka sink that say what becomes of events that the brokers will never take. */
export const refusedOptions = {
  on_too_large: choice({
    values: ["drop", "truncate", "dead_letter"],
    default: null,
    defaultText: '`"dead_letter"` with `dead_letter.file` or `.topic`, `"drop"` without',
    doc:
      "What to do with a record that exceeds `max_message_bytes` or the topic's `max.message.bytes`. `drop`: drop and count " +
      'it. `truncate`: cut its value so that it fits, at the end of a UTF-8 character; with `encoding.codec = "json"` the ' +
      "longest string in it is cut, and it stays JSON. Cut records are counted. `dead_letter`: keep it as a dead letter.",
    example: '"truncate"',
  }),
  "dead_letter.file": text({
    default: null,
    defaultText: "none: such events are dropped and counted",
    check: checkPath,
    doc:
      "The file for dead letters: events that the brokers will never take, one JSON object a line, with the reason and " +
      "where the event comes from ([dead_letters.md](dead_letters.md)). An event's position passes when its letter is on " +
      "the disk. Sinks may share a file.",
    example: '"/var/lib/shipper/dead_letters.jsonl"',
  }),
  "dead_letter.topic": text({
    default: null,
    defaultText: "none",
    check: checkTopicName,
    doc:
      "The topic for dead letters, instead of a file: the value as it is, and what is known of the event as record headers. " +
      "An event's position passes when its letter is acknowledged by all replicas in sync. A topic that is missing holds " +
      "such events back until it is there.",
    example: '"dead-letters"',
  }),
  "dead_letter.max_size": size({
    default: 1_024 * MIB,
    min: MIB,
    max: 1_099_511_627_776,
    doc:
      "With this size `dead_letter.file` is full: an event that is to go there waits, and what comes behind it. Moving the " +
      "file away makes room.",
    example: '"100MiB"',
  }),
};
