import type { Config } from "../config/config.ts";
import { describeSink, describeStream } from "../telemetry/audit_watch.ts";
import { BUFFER_SOURCE } from "../event/stream.ts";
import type { LiveAudit } from "../telemetry/audit.ts";
import { formatCount } from "../telemetry/format.ts";
import type { AuditArgs } from "./args.ts";
import { type CommandContext, withConfig } from "./command_context.ts";
import { askRunning } from "./running_shipper.ts";
import { auditStored, describeStored, type StoredAudit } from "./stored_audit.ts";
import { readStoredState } from "./stored_state.ts";
import { printable } from "../telemetry/printable.ts";
import { textTable } from "./text_table.ts";
import { snakeCaseKeys } from "../telemetry/json_keys.ts";

const EXIT_DIFFERENCE = 1;

/**
 * `shipper audit`: what became of everything that was read. A shipper that runs with this data_dir and has `[api]` is asked: it knows what is
 * buffered and in flight, for its own run. Otherwise the journal is added up, over all runs. Returns the exit code: 0 when it adds up, 1
 * when not.
 */
export async function audit(args: AuditArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const live = await askRunning(config);
    if (live !== null) {
      return report(
        live.addsUp,
        { kind: "live", ...live },
        () => liveText(live),
        args,
        context,
      );
    }
    const stored = auditStored(await readStoredState(config.dataDir), config.dataDir);
    return report(
      stored.addsUp,
      { kind: "journal", ...stored },
      () => storedText(stored, config),
      args,
      context,
    );
  });
}

function report(
  addsUp: boolean,
  json: object,
  text: () => string,
  args: AuditArgs,
  context: CommandContext,
): number {
  context.stdout(args.json ? `${JSON.stringify(snakeCaseKeys(json), null, 2)}\n` : text());
  return addsUp ? 0 : EXIT_DIFFERENCE;
}

const FIGURES = [
  "READ",
  "ACKNOWLEDGED",
  "IN FLIGHT",
  "BUFFERED",
  "DROPPED",
  "DEAD LETTERS",
  "LOST",
  "DIFFERENCE",
];
const COLUMNS = [
  { title: "SOURCE" },
  { title: "SINK" },
  { title: "FILE" },
  ...FIGURES.map((title) => ({ title, isNumber: true })),
];

function liveText(live: LiveAudit): string {
  const rows = [
    ...live.streams.map((each) => [
      each.source,
      each.sink,
      each.path === null ? "(files that are gone)" : each.path === "" ? "(stdin)" : each.path,
      ...figures(each, each.missing + each.unexplained),
    ]),
    ...live.sinks.map((each) => ["(all)", each.sink, "", ...figures(each, each.missing + each.unexplained)]),
  ];
  const lines = [
    `The running shipper (process ${live.pid}, version ${live.version}), since its start:\n\n`,
    textTable(COLUMNS, rows),
  ];
  if (live.unlistedStreams > 0) lines.push(`and ${live.unlistedStreams} more files, which are in the sums\n`);
  lines.push("\n");
  for (const { source, cause, bytes } of live.lostBytes) {
    lines.push(lostBytesText(`source "${source}"`, bytes, cause));
  }
  for (const stream of live.streams) {
    if (stream.missing !== 0 || stream.unexplained !== 0) lines.push(`${describeStream(stream)}\n`);
  }
  for (const sink of live.sinks) if (sink.differences.length > 0) lines.push(`${describeSink(sink)}\n`);
  if (live.addsUp) {
    lines.push("It adds up: read = acknowledged + in flight + buffered + dropped + dead letters + lost\n");
  }
  return lines.join("");
}

function figures(
  each: {
    readonly read: number;
    readonly acknowledged: number;
    readonly inFlight: number;
    readonly buffered: number;
    readonly dropped: Readonly<Record<string, number>>;
    readonly deadLettered: Readonly<Record<string, number>>;
    readonly lost: Readonly<Record<string, number>>;
  },
  difference: number,
): string[] {
  return [
    formatCount(each.read),
    formatCount(each.acknowledged),
    formatCount(each.inFlight),
    formatCount(each.buffered),
    labelled(each.dropped),
    labelled(each.deadLettered),
    labelled(each.lost),
    formatCount(difference),
  ];
}

/** "3 record_too_large, 1 buffer_full". */
function labelled(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([label, count]) => `${formatCount(count)} ${label}`);
  return parts.length === 0 ? "0" : parts.join(", ");
}

function storedText(stored: StoredAudit, config: Config): string {
  const rows = [
    ...stored.streams.map((each) => [each.source, each.sink, each.path, ...figures(each, each.difference)]),
    ...stored.sinks.map((each) => ["(all)", each.sink, "", ...figures(each, each.difference)]),
    ...stored.diskBuffers.map((
      each,
    ) => [each.source, each.sink, each.path, ...figures(each, each.difference)]),
  ];
  const api = config.api === null
    ? "without [api] a running shipper cannot be asked for what it has in memory"
    : "no shipper that uses it answers at api.address";
  const lines = [`The journal in "${config.dataDir}", over all runs (${api}):\n\n`];
  if (rows.length === 0) return `${lines[0]}Nothing is stored\n`;
  lines.push(textTable(COLUMNS, rows), "\n");
  for (const sink of new Set(stored.diskBuffers.map((each) => each.sink))) {
    lines.push(
      `Lines for sink "${printable(sink)}" count as acknowledged when they are in its disk buffer. ` +
        `The row "${BUFFER_SOURCE}" says what became of them then, over all files, and is not in the sum\n`,
    );
  }
  for (const { source, sink, path, lostBytes } of stored.streams) {
    for (const [cause, bytes] of Object.entries(lostBytes)) {
      lines.push(lostBytesText(`"${path}" of source "${source}" for sink "${sink}"`, bytes, cause));
    }
  }
  const all = [...stored.streams, ...stored.diskBuffers];
  for (const stream of all) if (stream.difference !== 0) lines.push(`${describeStored(stream)}\n`);
  lines.push("Files that are gone and were delivered are in no row: the journal forgets them\n");
  const buffered = stored.diskBuffers.length === 0 ? "" : "buffered + ";
  if (stored.addsUp) {
    lines.push(`It adds up: read = acknowledged + in flight + ${buffered}dropped + dead letters + lost\n`);
  }
  return lines.join("");
}

function lostBytesText(what: string, bytes: number, cause: string): string {
  return `Of ${what} ${formatCount(bytes)} bytes were gone before they could be read (${cause})\n`;
}
