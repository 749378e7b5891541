import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import type { Values } from "./option.ts";
import type { consoleSinkGroup } from "./options_console_sink.ts";
import { deliveryOptions } from "./options_delivery.ts";
import { kafkaSinkGroup } from "./options_kafka_sink.ts";
import { transactionOptions } from "./options_transaction.ts";
import { given, warnUnused } from "./rules_common.ts";
import { checkDeadLetters } from "./rules_refused.ts";
import { checkRouting } from "./rules_routing.ts";
import { checkExpiry } from "./rules_expiry.ts";
import { checkConnectTimeouts } from "./rules_network.ts";
import { checkSasl, checkTls } from "./rules_security.ts";
import { quote } from "./source_text.ts";
import { isConstantTopic } from "./string_checks.ts";
import type { FoundOption } from "./table_draft.ts";

/** Rules between the options of one sink. Every option was checked alone before. */
export function checkSinkRules(
  table: CheckedTable,
  report: Report,
  env: Readonly<Record<string, string | undefined>>,
): void {
  checkFieldLists(table, report);
  checkBuffer(table, report);
  if (table.group === kafkaSinkGroup) checkKafkaRules(table, report, env);
}

type KafkaValues = Values<typeof kafkaSinkGroup.options>;
type EncodingValues = Values<typeof consoleSinkGroup.options>;

function checkFieldLists(table: CheckedTable, report: Report): void {
  const values = table.values as EncodingValues;
  const only = table.found.get("encoding.only_fields");
  const except = table.found.get("encoding.except_fields");
  if (only !== undefined && except !== undefined) {
    const [first, second] = only.at.start < except.at.start ? [only, except] : [except, only];
    report.add({
      code: "conflict",
      message: `Cannot use ${quote(second.key)} with ${
        quote(first.key)
      }: one names what is encoded, the other what is not`,
      at: second.at,
      related: [{
        at: first.at,
        label: first === only ? "encodes these fields alone" : "encodes all fields but these",
      }],
      hint: "remove one of the two",
    });
    return;
  }
  const list = given(table, "encoding.only_fields") ?? given(table, "encoding.except_fields");
  if (list !== null && values["encoding.codec"] === "raw") {
    report.add({
      code: "unused-option",
      message: `Option ${quote(list.key)} has no effect: encoding.codec = "raw" ships the line untouched`,
      at: list.at,
      hint: 'remove it, or use encoding.codec = "json"',
    });
  }
}

/** A buffer on disk has its size from the file; one in memory drops what comes last. */
function checkBuffer(table: CheckedTable, report: Report): void {
  if (table.found.get("buffer.type")?.valid === false) return;
  const values = table.values as EncodingValues;
  const type = given(table, "buffer.type");
  if (values["buffer.type"] === "disk") {
    if (!table.found.has("buffer.max_size")) {
      report.add({
        code: "missing-key",
        message: 'Cannot use buffer.type = "disk" without "buffer.max_size": a buffer on disk needs a limit',
        at: type!.at,
        hint: 'add, for example, buffer.max_size = "1GiB"',
      });
    }
    const events = given(table, "buffer.max_events");
    warnUnused({
      options: events === null ? [] : [events],
      off: type!,
      reason: 'buffer.type = "disk" is limited by buffer.max_size alone',
      remedy: 'use buffer.type = "memory"',
    }, report);
    return;
  }
  const whenFull = given(table, "buffer.when_full");
  if (whenFull === null || values["buffer.when_full"] !== "drop_oldest") return;
  report.add({
    code: "conflict",
    message:
      'Cannot use buffer.when_full = "drop_oldest" with a buffer in memory: its oldest events are being sent',
    at: whenFull.at,
    related: type === null ? [] : [{ at: type.at, label: "keeps events in memory" }],
    hint: 'use "drop_newest" or "block", or buffer.type = "disk" with buffer.max_size',
  });
}

function checkKafkaRules(
  table: CheckedTable,
  report: Report,
  env: Readonly<Record<string, string | undefined>>,
): void {
  checkDelivery(table, report);
  checkTransaction(table, report);
  checkRouting(table, report);
  checkCompressionLevel(table, report);
  checkBatchSize(table, report);
  checkDeadLetters(table, report);
  checkTimes(table, report);
  checkExpiry(table, report);
  checkConnectTimeouts(table, report);
  checkAutocreate(table, report);
  checkGapMarkers(table, report);
  checkSasl(table, report, env);
  checkTls(table, report);
}

/** Exactly once needs all replicas to confirm, and its options need exactly once. */
function checkDelivery(table: CheckedTable, report: Report): void {
  if (table.found.get("acks")?.valid === false || table.found.get("delivery")?.valid === false) return;
  const values = table.values as KafkaValues;
  const acks = given(table, "acks");
  const delivery = given(table, "delivery");
  const isTransactional = values.delivery === "transactional";
  const isExact = values.delivery === "exactly_once" || (delivery === null && values.acks === "all");
  if ((isExact || isTransactional) && values.acks !== "all") {
    reportDeliveryConflict(delivery!, acks!, values.acks, report);
  }
  if (isExact) return;
  const options = [...table.found].filter(([key]) =>
    key !== "delivery" && Object.hasOwn(deliveryOptions, key)
  );
  warnUnused({
    options: options.map(([, found]) => found),
    off: delivery ?? acks!,
    reason: delivery === null
      ? `delivery is "at_least_once" with acks = ${quote(values.acks)}`
      : `delivery = ${quote(values.delivery!)} keeps no journal of batches`,
    remedy: delivery === null
      ? 'use acks = "all"'
      : `use delivery = "exactly_once"${values.acks === "all" ? "" : ' with acks = "all"'}`,
  }, report);
}

/** What transactions need is in effect with them alone, and their topic is no place for events. */
function checkTransaction(table: CheckedTable, report: Report): void {
  const values = table.values as KafkaValues;
  if (table.found.get("delivery")?.valid === false) return;
  if (values.delivery !== "transactional") {
    const options = [...table.found].filter(([key]) => Object.hasOwn(transactionOptions, key));
    warnUnused({
      options: options.map(([, found]) => found),
      off: given(table, "delivery") ?? undefined,
      reason: 'delivery is not "transactional"',
      remedy: 'use delivery = "transactional"',
    }, report);
    return;
  }
  const buffer = given(table, "buffer.type");
  if (buffer !== null && values["buffer.type"] === "disk") {
    const delivery = given(table, "delivery")!;
    const [first, second] = buffer.at.start < delivery.at.start ? [buffer, delivery] : [delivery, buffer];
    report.add({
      code: "conflict",
      message:
        'Cannot use delivery = "transactional" with buffer.type = "disk": the buffer wants a disk that lasts, and positions are in Kafka',
      at: second.at,
      related: [{ at: first.at, label: first === buffer ? "is on the disk" : "keeps nothing on the disk" }],
      hint: 'use delivery = "exactly_once", or buffer.type = "memory"',
    });
  }
  const topic = given(table, "topic");
  if (topic === null || values.topic !== values.position_topic) return;
  const position = given(table, "position_topic");
  report.add({
    code: "conflict",
    message: `Cannot write events to topic ${quote(values.topic)}: positions are stored in it`,
    at: topic.at,
    related: position === null ? [] : [{ at: position.at, label: "is the same" }],
    hint: "name another topic",
  });
}

function reportDeliveryConflict(
  delivery: FoundOption,
  acks: FoundOption,
  acksValue: "one" | "none",
  report: Report,
): void {
  const value = delivery.valueAt.file.text.slice(delivery.valueAt.start, delivery.valueAt.end);
  const [first, second] = acks.at.start < delivery.at.start ? [acks, delivery] : [delivery, acks];
  const who = acksValue === "one" ? "the leader alone confirms" : "nobody confirms";
  report.add({
    code: "conflict",
    message: `Cannot use delivery = ${value} with acks = ${
      quote(acksValue)
    }: what not all replicas have confirmed can be lost`,
    at: second.at,
    related: [{ at: first.at, label: first === acks ? who : "no line may be lost" }],
    hint: 'use acks = "all", or delivery = "at_least_once"',
  });
}

const LEVEL_MAX: Readonly<Record<string, number>> = { gzip: 9, zstd: 22 };

function checkCompressionLevel(table: CheckedTable, report: Report): void {
  const level = given(table, "compression_level");
  const codec = given(table, "compression");
  if (level === null || (codec === null && table.found.has("compression"))) return;
  const { compression, compression_level } = table.values as KafkaValues;
  const max = LEVEL_MAX[compression];
  if (max === undefined) {
    report.add({
      code: "unused-option",
      message: `Option ${quote(level.key)} has no effect: compression = ${quote(compression)} has no levels`,
      at: level.at,
      hint: 'remove it, or use compression = "zstd"',
    });
  } else if (compression_level! > max) {
    report.add({
      code: "out-of-range",
      message: `Cannot read option ${
        quote(level.key)
      }: expected 1 to ${max} for ${compression}, found ${compression_level}`,
      at: level.valueAt,
      related: codec === null ? [] : [{ at: codec.at, label: `has levels up to ${max}` }],
      hint: "leave the option out to use the default, 1",
    });
  }
}

/** No batch is larger than the largest message: brokers hold batches to that limit. */
function checkBatchSize(table: CheckedTable, report: Report): void {
  const batch = given(table, "batch.max_bytes");
  if (batch === null || table.found.get("max_message_bytes")?.valid === false) return;
  const { "batch.max_bytes": batchBytes, max_message_bytes: messageBytes } = table.values as KafkaValues;
  if (batchBytes <= messageBytes) return;
  const message = given(table, "max_message_bytes");
  report.add({
    code: "unused-option",
    message: `Option ${
      quote(batch.key)
    } has no effect beyond max_message_bytes: a batch holds at most ${messageBytes} bytes`,
    at: batch.at,
    related: message === null ? [] : [{ at: message.at, label: "limits it" }],
    hint: `use at most ${messageBytes}, or raise max_message_bytes and what the topic allows`,
  });
}

/** The broker's share of a wait must fit into the whole, and the first pause into the longest. */
function checkTimes(table: CheckedTable, report: Report): void {
  const pairs = [
    ["request_timeout_ms", "socket_timeout_ms", "a connection is given up before the broker answers"],
    ["retry.interval_ms", "retry.max_interval_ms", "the first pause is longer than the longest"],
    [
      "commit_interval_ms",
      "transaction_timeout_ms",
      "the brokers abort a transaction before it is committed",
    ],
  ] as const;
  for (const [small, large, reason] of pairs) {
    const smaller = given(table, small);
    if (smaller === null || table.found.get(large)?.valid === false) continue;
    const limit = table.values[large] as number;
    if ((table.values[small] as number) <= limit) continue;
    const larger = given(table, large);
    report.add({
      code: "conflict",
      message: `Cannot use ${small} = ${table.values[small]} with ${large} = ${limit}: ${reason}`,
      at: smaller.at,
      related: larger === null ? [] : [{ at: larger.at, label: "is less" }],
      hint: `use at most ${limit}, or raise ${large}`,
    });
  }
}

function checkAutocreate(table: CheckedTable, report: Report): void {
  if (table.values["topics_autocreate"] === true || table.found.get("topics_autocreate")?.valid === false) {
    return;
  }
  for (const key of ["autocreate.partitions", "autocreate.replication_factor"]) {
    const found = given(table, key);
    if (found === null) continue;
    report.add({
      code: "unused-option",
      message: `Option ${quote(key)} has no effect: topics are not created, as topics_autocreate is not true`,
      at: found.at,
      hint: "add topics_autocreate = true, or remove it",
    });
  }
}

/** A marker has no fields that could name its topic. */
function checkGapMarkers(table: CheckedTable, report: Report): void {
  const values = table.values as KafkaValues;
  const markers = table.found.get("gap_markers");
  const markersTopic = table.found.get("gap_markers_topic");
  if (markers?.valid === false) return;
  if (!values.gap_markers) {
    warnUnused({
      options: markersTopic?.valid === true ? [markersTopic] : [],
      off: markers,
      reason: "no gap markers are sent, as gap_markers is not true",
      remedy: "add gap_markers = true",
    }, report);
    return;
  }
  const topic = given(table, "topic");
  if (markersTopic !== undefined || topic === null || isConstantTopic(values.topic)) return;
  report.add({
    code: "conflict",
    message:
      'Cannot use "gap_markers" without "gap_markers_topic": a marker has no field that names its topic',
    at: markers!.at,
    related: [{ at: topic.at, label: "depends on the event" }],
    hint: 'add gap_markers_topic, such as "gaps"',
  });
}
