import type { Family, FamilyType } from "./exposition.ts";

const declared: Family[] = [];

function declare(type: FamilyType, name: string, labels: readonly string[], help: string): Family {
  const family: Family = { name, type, help, labels };
  declared.push(family);
  return family;
}

const counter = declare.bind(null, "counter");
const gauge = declare.bind(null, "gauge");
const histogram = declare.bind(null, "histogram");

const SOURCE = ["source"];
const SINK = ["sink"];
const FILE = ["source", "sink", "file"];

/** Every family that `renderPrometheus` can give; docs/metrics.md lists them, and a test compares the two. */
export const FAMILIES = {
  buildInfo: gauge(
    "shipper_build_info",
    ["version", "runtime", "platform", "arch"],
    "Always 1; what runs is in the labels.",
  ),

  configReloads: counter(
    "shipper_config_reloads_total",
    ["result"],
    "Configurations that were to take over while shipper runs: taken, unchanged, partly (a sink could not be started), " +
      "invalid, refused (it cannot take over without a restart).",
  ),
  configLastReloadSuccess: gauge(
    "shipper_config_last_reload_success",
    [],
    "1 when the configuration that was read last is at work whole, as after a start; 0 when it is not.",
  ),
  configLastReload: gauge(
    "shipper_config_last_reload_timestamp_seconds",
    [],
    "When a configuration was read again last; not there before.",
  ),

  sourceEventsIn: counter(
    "shipper_source_events_in_total",
    SOURCE,
    "Lines that a source read, counted for each sink that reads the source.",
  ),
  sourceBytesIn: counter(
    "shipper_source_bytes_in_total",
    SOURCE,
    "Raw bytes of those lines, delimiters included, counted for each sink.",
  ),
  sourceTruncatedLines: counter(
    "shipper_source_truncated_lines_total",
    SOURCE,
    "Lines that were cut at max_line_bytes.",
  ),
  sourceInvalidUtf8: counter(
    "shipper_source_invalid_utf8_events_total",
    SOURCE,
    "Events whose bytes were not UTF-8 and were replaced in JSON.",
  ),
  sourceDecodeErrors: counter(
    "shipper_source_decode_errors_total",
    SOURCE,
    "Lines that decoding.codec could not read and that were kept as text.",
  ),
  sourceMissingMessage: counter(
    "shipper_source_missing_message_events_total",
    SOURCE,
    'Events without the field "message" under encoding.codec = "text"; their value is empty.',
  ),
  sourceErrors: counter(
    "shipper_source_errors_total",
    ["source", "error"],
    "Errors while opening, reading or watching files, by the system's name of the error.",
  ),
  sourceOpenFiles: gauge("shipper_source_open_files", SOURCE, "Files that are open now."),
  sourceWatchedFiles: gauge("shipper_source_watched_files", SOURCE, "Files that are followed now."),
  sourceRotations: counter(
    "shipper_source_rotations_total",
    SOURCE,
    "Rotations seen (a new file under a known path).",
  ),
  sourceTruncations: counter(
    "shipper_source_truncations_total",
    SOURCE,
    "Files that became shorter than what was read.",
  ),
  sourceLostBytes: counter(
    "shipper_source_lost_bytes_total",
    ["source", "cause"],
    "Bytes that were gone before they could be read.",
  ),
  sourceRescuedBytes: counter(
    "shipper_source_rescued_bytes_total",
    SOURCE,
    "Bytes of deleted or moved files that were copied to data_dir, because a sink had not delivered them.",
  ),
  sourceRescueFailures: counter(
    "shipper_source_rescue_failures_total",
    SOURCE,
    "Times that such bytes could not be copied (rescue_max_size, a full disk, an error): they are in the open file alone.",
  ),
  sourceRescueHeld: gauge(
    "shipper_source_rescue_bytes",
    SOURCE,
    "Bytes of such copies in data_dir now.",
  ),

  fileLag: gauge("shipper_file_lag_bytes", FILE, "Bytes of a file that are not delivered to a sink yet."),
  fileRead: gauge("shipper_file_read_offset_bytes", FILE, "Up to where a file was read for a sink."),
  fileDelivered: gauge(
    "shipper_file_delivered_offset_bytes",
    FILE,
    "Up to where a file is delivered to a sink.",
  ),
  sourceLag: gauge(
    "shipper_source_lag_bytes",
    ["source", "sink"],
    "Sum of shipper_file_lag_bytes over all files, listed or not.",
  ),
  sourceUnlistedFiles: gauge(
    "shipper_source_unlisted_files",
    SOURCE,
    "Files per sink without series of their own, because only the 1000 with the largest lag have them.",
  ),

  sinkEventsIn: counter(
    "shipper_sink_events_in_total",
    SINK,
    "Events that were taken from sources for a sink.",
  ),
  sinkEventsInBySource: counter(
    "shipper_sink_source_events_in_total",
    ["sink", "source"],
    "The same, by source.",
  ),
  sinkGivenBack: counter(
    "shipper_sink_given_back_events_total",
    SINK,
    "Of the events in, those that a sink had not delivered when a reload ended it: they are read again, and count again.",
  ),
  sinkDelivered: counter("shipper_sink_delivered_events_total", SINK, "Events that were acknowledged."),
  sinkDeliveredBytes: counter(
    "shipper_sink_delivered_bytes_total",
    SINK,
    "Key and value bytes of those events, before compression.",
  ),
  sinkUnconfirmed: counter(
    "shipper_sink_sent_unconfirmed_events_total",
    SINK,
    'Of the delivered events, those that were written under acks = "none": nobody confirmed them.',
  ),
  sinkSentBytes: counter(
    "shipper_sink_sent_bytes_total",
    SINK,
    "Bytes of record batches that were written, after compression.",
  ),
  sinkSentBatches: counter(
    "shipper_sink_sent_batches_total",
    SINK,
    "Record batches (console: writes) that were acknowledged.",
  ),
  sinkDropped: counter(
    "shipper_sink_dropped_events_total",
    ["sink", "source", "reason"],
    "Events that were given up, by source and reason.",
  ),
  sinkFallbacks: counter(
    "shipper_sink_fallback_topic_events_total",
    ["sink", "source", "reason"],
    "Events that went to fallback_topic, by source and reason.",
  ),
  sinkDeadLettered: counter(
    "shipper_sink_dead_lettered_events_total",
    ["sink", "source", "reason"],
    "Events that were kept as dead letters, by source and reason.",
  ),
  sinkHeld: gauge(
    "shipper_sink_dead_letters_waiting_events",
    SINK,
    "Events in flight whose dead letters are not stored yet: their partitions wait.",
  ),
  sinkTruncated: counter(
    "shipper_sink_truncated_records_total",
    SINK,
    "Records whose value was cut because they were too large.",
  ),
  sinkRedated: counter(
    "shipper_sink_redated_records_total",
    SINK,
    "Records that did not get the time of their event, because their topic does not take it.",
  ),
  sinkUndelivered: counter(
    "shipper_sink_undelivered_events_total",
    ["sink", "source"],
    "Events of batches that were neither delivered nor dropped before the process stopped; those of files are read again.",
  ),
  sinkRetries: counter(
    "shipper_sink_retries_total",
    ["sink", "error"],
    "Attempts that failed and were repeated, by error.",
  ),
  sinkStalls: counter(
    "shipper_sink_stalls_total",
    ["sink", "step"],
    "Times that a partition was taken up again because no broker had answered for it, by what was done: refresh, reconnect, rebuild.",
  ),
  sinkThrottled: counter(
    "shipper_sink_throttled_seconds_total",
    SINK,
    "Time that brokers have asked to wait in answers, because a quota of the cluster was used up.",
  ),
  sinkInFlight: gauge(
    "shipper_sink_in_flight_events",
    SINK,
    "Events that left the buffer and are not settled.",
  ),
  sinkReady: gauge(
    "shipper_sink_ready",
    SINK,
    "1 while a sink delivers or has nothing to deliver, else 0, as before its first health check has passed.",
  ),
  sinkLastAck: gauge(
    "shipper_sink_last_acknowledgement_timestamp_seconds",
    SINK,
    "When something was last acknowledged; absent before the first time.",
  ),
  sinkWaiting: gauge(
    "shipper_sink_waiting_seconds",
    SINK,
    "For how long events have been waiting without any acknowledgement; 0 when nothing waits.",
  ),
  bufferEvents: gauge("shipper_buffer_events", SINK, "Events in the buffer."),
  bufferBytes: gauge(
    "shipper_buffer_bytes",
    SINK,
    "Memory that the buffer's events keep alive, or what a disk buffer takes up on the disk.",
  ),
  bufferCarried: gauge(
    "shipper_buffer_carried_events",
    SINK,
    "Of the events in a disk buffer, those that an earlier run put in: no other figure of this run has them before they are read.",
  ),
  bufferFailing: gauge(
    "shipper_buffer_failing",
    SINK,
    "1 while the disk buffer cannot be written; always 0 for one in memory.",
  ),
  bufferMaxEvents: gauge("shipper_buffer_limit_events", SINK, "The limit of a buffer in memory in events."),
  bufferMaxBytes: gauge("shipper_buffer_limit_bytes", SINK, "The buffer's limit in bytes."),
  batchEvents: histogram(
    "shipper_sink_batch_events",
    SINK,
    "Events in a record batch (console: in a write).",
  ),
  batchBytes: histogram("shipper_sink_batch_bytes", SINK, "Bytes of a record batch before compression."),
  latency: histogram(
    "shipper_sink_delivery_latency_seconds",
    SINK,
    "From reading an event's bytes to their acknowledgement.",
  ),

  sinkLost: counter(
    "shipper_sink_lost_events_total",
    ["sink", "cause"],
    "Events whose bytes were taken and are nowhere any more, or whose fate was given up.",
  ),
  sinkResolved: counter(
    "shipper_sink_resolved_batches_total",
    ["sink", "result"],
    "Batches whose fate was open and was found out: written, unwritten, replaced, undecidable, topic-missing, ...",
  ),
  sinkReplaced: counter(
    "shipper_sink_replaced_batches_total",
    ["sink", "reason"],
    "Batches that got new numbers, or others in their place.",
  ),
  sinkInDoubt: gauge(
    "shipper_sink_partitions_in_doubt",
    SINK,
    "Partitions that wait until it is found out what became of a batch.",
  ),
  sinkUnprotected: gauge(
    "shipper_sink_unprotected_partitions",
    SINK,
    "Partitions on which the broker's de-duplication cannot be relied on, by the last look.",
  ),
  sinkCertificate: gauge(
    "shipper_sink_certificate_expiry_timestamp_seconds",
    [...SINK, "certificate"],
    "When the certificate of a role (client, ca, broker) ends, of several the one that ends first; absent before it was seen.",
  ),
  sinkBrokerLost: counter(
    "shipper_sink_broker_lost_acknowledged_total",
    SINK,
    "Times that a broker no longer had what it had acknowledged.",
  ),
  sinkTransactions: counter(
    "shipper_sink_transactions_total",
    ["sink", "result"],
    "Transactions by what became of them: committed, aborted (or it had to be found out); absent before the first.",
  ),
  sinkLastCommit: gauge(
    "shipper_sink_last_commit_timestamp_seconds",
    SINK,
    "When a transaction was last committed; absent before the first time.",
  ),
  sinkJournalBehind: counter(
    "shipper_sink_journal_behind_broker_total",
    SINK,
    "Times that data_dir was older than what the broker has of this producer.",
  ),

  fileReadEvents: counter(
    "shipper_file_read_events_total",
    FILE,
    "Events that were read from a file for a sink in this run; for at most 1000 files, those with the most events.",
  ),
  fileAcknowledged: counter(
    "shipper_file_acknowledged_events_total",
    FILE,
    "Of those, events that were acknowledged.",
  ),
  auditMissing: gauge(
    "shipper_audit_missing_events",
    ["source", "sink"],
    "Events of which nobody knows where they are, or that are too many: 0, or there is a mistake in shipper.",
  ),
  auditDifference: gauge(
    "shipper_audit_difference_events",
    SINK,
    "By how much a sink's own counters differ from those of its files: 0, or there is a mistake in shipper.",
  ),

  journalBytes: counter(
    "shipper_journal_written_bytes_total",
    [],
    "Bytes that were written to the journal.",
  ),
  journalCommits: counter("shipper_journal_commits_total", [], "Groups that were written to the journal."),
  journalLive: gauge(
    "shipper_journal_live_batches",
    [],
    "Batches in the journal that are neither acknowledged nor replaced.",
  ),
  journalFailing: gauge("shipper_journal_failing", [], "1 while the journal cannot be written, else 0."),

  eventLoopLag: gauge(
    "shipper_event_loop_lag_seconds",
    ["quantile"],
    "How late timers ran on the main thread over the last minute; 1 is the largest.",
  ),
  cpu: counter("process_cpu_seconds_total", [], "User and system CPU time."),
  residentMemory: gauge("process_resident_memory_bytes", [], "Resident memory."),
  startTime: gauge("process_start_time_seconds", [], "Start of the process since the epoch."),
} satisfies Record<string, Family>;

/** The same in the order of declaration. */
export const ALL_FAMILIES: readonly Family[] = declared;
