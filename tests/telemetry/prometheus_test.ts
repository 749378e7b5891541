import { printable } from "../../src/telemetry/printable.ts";
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { Tally } from "../../src/event/tally.ts";
import { Exposition } from "../../src/telemetry/exposition.ts";
import { ALL_FAMILIES } from "../../src/telemetry/metric_families.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import {
  FILE_SERIES_MAX,
  type PrometheusExtra,
  readProcessFigures,
  renderPrometheus,
} from "../../src/telemetry/prometheus.ts";
import { parseExposition, valueOf } from "./exposition_parser.ts";

const extra: PrometheusExtra = {
  version: "1.2.3",
  nowMs: 100_000,
  process: { cpuSeconds: 1.5, residentBytes: 50_000_000 },
  eventLoopLag: { p50Ms: 0.5, p99Ms: 12, maxMs: 40, samplesCount: 600 },
  readyBySink: new Map([["kafka", true], ["out", false]]),
};

function fullMetrics(): Metrics {
  const metrics = new Metrics(10_500);
  metrics.reloads.ended({ result: "taken", atMs: 90_000, failure: null });
  const source = metrics.source("app");
  source.eventsInCount = 10;
  source.bytesInCount = 1_000;
  source.truncatedLinesCount = 1;
  source.invalidUtf8Count = 2;
  source.decodeErrorsCount = 3;
  source.missingMessageCount = 4;
  source.errors.add("EACCES", 5);
  source.openFiles = 6;
  source.watchedFiles = 7;
  source.rotationsCount = 8;
  source.truncationsCount = 9;
  source.lostBytes.add("truncated_unread", 11);
  source.rescuedBytesCount = 12;
  source.rescueFailuresCount = 13;
  source.rescueHeldBytes = () => 14;
  source.fileLags =
    () => [{ path: "/a.log", sink: "kafka", sizeBytes: 100, readBytes: 80, deliveredBytes: 60 }];
  const sink = metrics.sink("kafka");
  sink.eventsInCount = 10;
  sink.eventsInBySource.add("app", 10);
  sink.deliveredEventsCount = 4;
  sink.deliveredBytesCount = 400;
  sink.sentBytesCount = 500;
  sink.sentBatchesCount = 2;
  sink.sentUnconfirmedEventsCount = 1;
  sink.dropped.add("app\u0000buffer_full", 2);
  sink.stalls.add("refresh", 1);
  sink.deadLettered.add("app\u0000record_too_large", 1);
  sink.fallbacks.add("app\u0000topic_invalid", 1);
  sink.undelivered.add("app", 1);
  sink.retries.add("NOT_LEADER_OR_FOLLOWER", 3);
  sink.bufferedEvents = 3;
  sink.bufferedBytes = 300;
  sink.bufferMaxEvents = 50_000;
  sink.bufferMaxBytes = 67_108_864;
  sink.inFlightEvents = 1;
  sink.lastAckMs = 90_000;
  sink.waitingSinceMs = 90_000;
  sink.batchEvents.observe(4);
  sink.batchBytes.observe(400);
  sink.latencySeconds.observe(0.02, 4);
  sink.latencySeconds.observe(1_000);
  sink.lost.add("undecidable", 1);
  sink.resolved.add("written", 2);
  sink.replaced.add("split", 3);
  sink.partitionsInDoubt = 4;
  sink.unprotectedPartitions = 5;
  sink.certificates = [{ role: "client", notAfterMs: 1_700_000_000_500 }];
  sink.brokerLostAckedCount = 6;
  sink.journalBehindBrokerCount = 7;
  sink.transactionsCommittedCount = 8;
  sink.transactionsAbortedCount = 9;
  sink.lastCommitMs = 12_500;
  metrics.sink("out");
  metrics.journal = { writtenBytes: 8_192, commitCount: 9, liveCount: 2, failure: "EIO" };
  const tally = new Tally();
  Object.assign(tally, {
    readCount: 10,
    deliveredCount: 4,
    inFlightCount: 1,
    bufferedCount: 3,
    leftCount: 1,
  });
  metrics.accounts = () => [{ source: "app", sink: "kafka", path: "/a.log", streamId: "1", tally }];
  return metrics;
}

test("metrics page has every declared family, with its type, help and labels", () => {
  const families = parseExposition(renderPrometheus(fullMetrics(), extra));
  expect([...families.keys()].sort()).toEqual(ALL_FAMILIES.map(({ name }) => name).sort());
  for (const declared of ALL_FAMILIES) {
    const { type, help, samples } = families.get(declared.name)!;
    expect({ name: declared.name, type, help }).toEqual({
      name: declared.name,
      type: declared.type,
      help: declared.help,
    });
    for (const { labels } of samples) {
      expect(Object.keys(labels).filter((label) => label !== "le")).toEqual([...declared.labels]);
    }
  }
});

test("metrics page gives every figure", () => {
  const page = parseExposition(renderPrometheus(fullMetrics(), extra));
  const source = { source: "app" };
  const sink = { sink: "kafka" };
  const file = { source: "app", sink: "kafka", file: "/a.log" };
  const values: [string, Record<string, string>, number][] = [
    ["shipper_source_events_in_total", source, 10],
    ["shipper_source_bytes_in_total", source, 1_000],
    ["shipper_source_truncated_lines_total", source, 1],
    ["shipper_source_invalid_utf8_events_total", source, 2],
    ["shipper_source_decode_errors_total", source, 3],
    ["shipper_source_missing_message_events_total", source, 4],
    ["shipper_source_errors_total", { ...source, error: "EACCES" }, 5],
    ["shipper_source_open_files", source, 6],
    ["shipper_source_watched_files", source, 7],
    ["shipper_source_rotations_total", source, 8],
    ["shipper_source_truncations_total", source, 9],
    ["shipper_source_lost_bytes_total", { ...source, cause: "truncated_unread" }, 11],
    ["shipper_source_rescued_bytes_total", source, 12],
    ["shipper_source_rescue_failures_total", source, 13],
    ["shipper_source_rescue_bytes", source, 14],
    ["shipper_file_lag_bytes", file, 40],
    ["shipper_file_read_offset_bytes", file, 80],
    ["shipper_file_delivered_offset_bytes", file, 60],
    ["shipper_source_lag_bytes", { source: "app", sink: "kafka" }, 40],
    ["shipper_source_unlisted_files", source, 0],
    ["shipper_sink_events_in_total", sink, 10],
    ["shipper_sink_source_events_in_total", { ...sink, ...source }, 10],
    ["shipper_sink_delivered_events_total", sink, 4],
    ["shipper_sink_delivered_bytes_total", sink, 400],
    ["shipper_sink_sent_bytes_total", sink, 500],
    ["shipper_sink_sent_batches_total", sink, 2],
    ["shipper_sink_sent_unconfirmed_events_total", sink, 1],
    ["shipper_sink_dropped_events_total", { ...sink, ...source, reason: "buffer_full" }, 2],
    ["shipper_sink_undelivered_events_total", { ...sink, ...source }, 1],
    ["shipper_sink_retries_total", { ...sink, error: "NOT_LEADER_OR_FOLLOWER" }, 3],
    ["shipper_sink_in_flight_events", sink, 1],
    ["shipper_sink_ready", sink, 1],
    ["shipper_sink_ready", { sink: "out" }, 0],
    ["shipper_sink_last_acknowledgement_timestamp_seconds", sink, 90],
    ["shipper_sink_waiting_seconds", sink, 10],
    ["shipper_sink_waiting_seconds", { sink: "out" }, 0],
    ["shipper_buffer_events", sink, 3],
    ["shipper_buffer_bytes", sink, 300],
    ["shipper_buffer_limit_events", sink, 50_000],
    ["shipper_buffer_limit_bytes", sink, 67_108_864],
    ["shipper_sink_batch_events_bucket", { ...sink, le: "1" }, 0],
    ["shipper_sink_batch_events_bucket", { ...sink, le: "10" }, 1],
    ["shipper_sink_batch_bytes_sum", sink, 400],
    ["shipper_sink_delivery_latency_seconds_bucket", { ...sink, le: "0.025" }, 4],
    ["shipper_sink_delivery_latency_seconds_bucket", { ...sink, le: "60" }, 4],
    ["shipper_sink_delivery_latency_seconds_bucket", { ...sink, le: "+Inf" }, 5],
    ["shipper_sink_delivery_latency_seconds_count", sink, 5],
    ["shipper_event_loop_lag_seconds", { quantile: "0.99" }, 0.012],
    ["process_cpu_seconds_total", {}, 1.5],
    ["process_resident_memory_bytes", {}, 50_000_000],
    ["process_start_time_seconds", {}, 10.5],
  ];
  for (const [name, labels, value] of values) {
    expect([name, valueOf(page, name, labels)]).toEqual([name, value]);
  }
});

test("metrics page gives the fate of batches, the account, and the journal", () => {
  const page = parseExposition(renderPrometheus(fullMetrics(), extra));
  const source = { source: "app" };
  const sink = { sink: "kafka" };
  const file = { source: "app", sink: "kafka", file: "/a.log" };
  const values: [string, Record<string, string>, number][] = [
    ["shipper_sink_lost_events_total", { ...sink, cause: "undecidable" }, 1],
    ["shipper_sink_resolved_batches_total", { ...sink, result: "written" }, 2],
    ["shipper_sink_replaced_batches_total", { ...sink, reason: "split" }, 3],
    ["shipper_sink_partitions_in_doubt", sink, 4],
    ["shipper_sink_unprotected_partitions", sink, 5],
    [
      "shipper_sink_certificate_expiry_timestamp_seconds",
      { ...sink, certificate: "client" },
      1_700_000_000.5,
    ],
    ["shipper_sink_broker_lost_acknowledged_total", sink, 6],
    ["shipper_sink_transactions_total", { ...sink, result: "committed" }, 8],
    ["shipper_sink_transactions_total", { ...sink, result: "aborted" }, 9],
    ["shipper_sink_last_commit_timestamp_seconds", sink, 12.5],
    ["shipper_sink_journal_behind_broker_total", sink, 7],
    ["shipper_file_read_events_total", file, 10],
    ["shipper_file_acknowledged_events_total", file, 4],
    ["shipper_audit_missing_events", { ...source, ...sink }, 1],
    // dropped 2 and lost 1 by the sink, none by its file.
    ["shipper_audit_difference_events", sink, 4],
    ["shipper_audit_difference_events", { sink: "out" }, 0],
    ["shipper_journal_written_bytes_total", {}, 8_192],
    ["shipper_journal_commits_total", {}, 9],
    ["shipper_journal_live_batches", {}, 2],
    ["shipper_journal_failing", {}, 1],
  ];
  for (const [name, labels, value] of values) {
    expect([name, valueOf(page, name, labels)]).toEqual([name, value]);
  }
});

test("metrics page leaves out what is not known", () => {
  const metrics = new Metrics(0);
  metrics.sink("kafka");
  const page = parseExposition(
    renderPrometheus(metrics, { ...extra, eventLoopLag: null, readyBySink: new Map() }),
  );
  expect(page.has("shipper_event_loop_lag_seconds")).toBe(false);
  expect(page.has("shipper_sink_ready")).toBe(false);
  expect(page.has("shipper_sink_last_acknowledgement_timestamp_seconds")).toBe(false);
});

test("metrics page can be read whatever files are called", () => {
  fc.assert(fc.property(fc.array(fc.string({ unit: "binary" }), { maxLength: 20 }), (paths) => {
    const metrics = new Metrics(0);
    metrics.source("app").fileLags = () =>
      paths.map((path) => ({ path, sink: "kafka", sizeBytes: 10, readBytes: 4, deliveredBytes: 3 }));
    const page = parseExposition(renderPrometheus(metrics, extra));
    const samples = page.get("shipper_file_lag_bytes")?.samples ?? [];
    expect(new Set(samples.map(({ labels }) => labels["file"]))).toEqual(
      new Set(paths.map((path) => printable(path.toWellFormed()))),
    );
    expect(samples.reduce((sum, { value }) => sum + value, 0)).toBe(7 * paths.length);
  }));
});

test("metrics page adds up generations of a file under one path, and a file that became shorter has no lag", () => {
  const metrics = new Metrics(0);
  metrics.source("app").fileLags = () => [
    { path: "/a.log", sink: "kafka", sizeBytes: 100, readBytes: 100, deliveredBytes: 90 },
    { path: "/a.log", sink: "kafka", sizeBytes: 7, readBytes: 5, deliveredBytes: 5 },
    { path: "/b.log", sink: "kafka", sizeBytes: 1, readBytes: 50, deliveredBytes: 50 },
  ];
  const page = parseExposition(renderPrometheus(metrics, extra));
  expect(valueOf(page, "shipper_file_lag_bytes", { source: "app", sink: "kafka", file: "/a.log" })).toBe(12);
  expect(valueOf(page, "shipper_file_lag_bytes", { source: "app", sink: "kafka", file: "/b.log" })).toBe(0);
});

test("metrics page lists the files with the largest lag, and the sum of all", () => {
  const metrics = new Metrics(0);
  const count = FILE_SERIES_MAX + 500;
  metrics.source("app").fileLags = () =>
    Array.from(
      { length: count },
      (_, i) => ({ path: `/${i}`, sink: "kafka", sizeBytes: i, readBytes: 0, deliveredBytes: 0 }),
    );
  const page = parseExposition(renderPrometheus(metrics, extra));
  const listed = page.get("shipper_file_lag_bytes")!.samples.map(({ value }) => value);
  expect(listed.length).toBe(FILE_SERIES_MAX);
  expect(Math.min(...listed)).toBe(500);
  expect(valueOf(page, "shipper_source_unlisted_files", { source: "app" })).toBe(500);
  expect(valueOf(page, "shipper_source_lag_bytes", { source: "app", sink: "kafka" })).toBe(
    count * (count - 1) / 2,
  );
});

test("metrics page has series of the files with the most events, and counts every stream in the account", () => {
  const metrics = new Metrics(0);
  metrics.sink("kafka");
  metrics.accounts = () =>
    Array.from({ length: FILE_SERIES_MAX + 500 }, (_, i) => {
      const tally = new Tally();
      tally.readCount = tally.deliveredCount = i;
      if (i === 0) tally.leftCount = 2;
      return { source: "app", sink: "kafka", path: `/${i}`, streamId: String(i), tally };
    });
  const page = parseExposition(renderPrometheus(metrics, extra));
  const listed = page.get("shipper_file_read_events_total")!.samples.map(({ value }) => value);
  expect([listed.length, Math.min(...listed)]).toEqual([FILE_SERIES_MAX, 500]);
  expect(valueOf(page, "shipper_audit_missing_events", { source: "app", sink: "kafka" })).toBe(2);
});

test("metrics page survives drop reasons beyond the table's limit", () => {
  const metrics = new Metrics(0);
  const { dropped } = metrics.sink("kafka");
  for (let i = 0; i < 300; i++) dropped.add(`app${i}\u0000reason`);
  dropped.add("other\u0000other", 0);
  const page = parseExposition(renderPrometheus(metrics, extra));
  expect(
    valueOf(page, "shipper_sink_dropped_events_total", { sink: "kafka", source: "other", reason: "other" }),
  ).toBe(100);
});

test("exposition writes numbers as Prometheus reads them", () => {
  const family = { name: "x", type: "gauge", help: "a \\ b\nc", labels: ["n"] } as const;
  const page = new Exposition();
  const numbers = [0, -1.5, 1e21, 1e-7, Infinity, -Infinity, NaN, Number.MAX_SAFE_INTEGER];
  numbers.forEach((value, i) => page.add(family, [String(i)], value));
  const parsed = parseExposition(page.render());
  expect(parsed.get("x")!.samples.map(({ value }) => value)).toEqual(numbers);
  expect(parsed.get("x")!.help).toBe("a \\ b\nc");
});

test("exposition refuses labels that a family does not have", () => {
  const family = { name: "x", type: "gauge", help: "h", labels: ["n"] } as const;
  expect(() => new Exposition().add(family, [], 1)).toThrow('Cannot add to "x": it has 1 labels, got 0');
});

test("process figures are those of this process", () => {
  const { cpuSeconds, residentBytes } = readProcessFigures();
  expect(cpuSeconds).toBeGreaterThan(0);
  expect(residentBytes).toBeGreaterThan(5_000_000);
  expect(residentBytes).toBeLessThan(5_000_000_000);
});

test("docs/metrics.md lists every family with its type, labels and help, and nothing else", () => {
  const text = readFileSync(join(import.meta.dir, "../../docs/metrics.md"), "utf8");
  const rows = text.split("\n").filter((line) => line.startsWith("| `"));
  expect(rows).toEqual(
    ALL_FAMILIES.map(({ name, type, labels, help }) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${
        help.replaceAll("|", "\\|")
      } |`
    ),
  );
});
