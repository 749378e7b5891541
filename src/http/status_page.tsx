/** @jsxImportSource hono/jsx (named here too: Bun reads tsconfig.json of the folder that it is started in) */
import { formatBytes, formatCount, formatDuration } from "../telemetry/format.ts";
import type { Reload } from "../telemetry/metrics.ts";
import type { FileStatus, JournalStatus, SinkStatus, SourceStatus, Status } from "../telemetry/status.ts";

/** The page asks for itself again; no script is needed. */
const REFRESH_SECONDS = 5;

const STYLE = `
:root { color-scheme: light dark }
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem auto; max-width: 75rem; padding: 0 1rem }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin: 1.5rem 0 .3rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #8884; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
td.path { word-break: break-all }
.ok { color: #18794e } .bad { color: #cd2b31; font-weight: 600 }
.note { opacity: .7 }
@media (prefers-color-scheme: dark) { .ok { color: #4cc38a } .bad { color: #ff9592 } }`;

/** Everything that a Status says, as one page. hono escapes every text; the style is a constant. */
export function StatusPage({ status, version }: { status: Status; version: string }) {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="refresh" content={String(REFRESH_SECONDS)} />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>{status.ready ? "shipper" : "shipper: not ready"}</title>
        <style dangerouslySetInnerHTML={{ __html: STYLE }} />
      </head>
      <body>
        <h1>
          shipper {version} <Ready ready={status.ready} />
        </h1>
        <p>
          {status.state}, up {formatDuration(status.nowMs - status.startedMs)};{" "}
          <span class="note">{new Date(status.nowMs).toISOString()}, every {REFRESH_SECONDS} s</span>
        </p>
        {status.reload !== null && status.reload.failure !== null && (
          <RejectedConfiguration reload={status.reload} />
        )}
        {status.journal !== null && <Journal journal={status.journal} />}
        <h2>Sinks</h2>
        {status.sinks.map((sink) => <Sink key={sink.name} sink={sink} nowMs={status.nowMs} />)}
        <h2>Sources</h2>
        {status.sources.map((source) => <Source key={source.name} source={source} />)}
      </body>
    </html>
  );
}

function RejectedConfiguration({ reload: { atMs, failure } }: { reload: Reload }) {
  return (
    <p class="bad">
      The configuration that was read at {new Date(atMs).toISOString()} is not at work: {failure!.message}
      {failure!.hint !== null && <span class="note">{` (hint: ${failure!.hint})`}</span>}
    </p>
  );
}

function Journal({ journal }: { journal: JournalStatus }) {
  return (
    <p>
      Journal: {formatCount(journal.liveBatches)} live batches, {formatBytes(journal.writtenBytes)} in{" "}
      {formatCount(journal.commits)} commits
      {journal.failure !== null && <span class="bad">; it cannot be written: {journal.failure}</span>}
    </p>
  );
}

function Ready({ ready }: { ready: boolean }) {
  return ready ? <span class="ok">ready</span> : <span class="bad">not ready</span>;
}

function Sink({ sink, nowMs }: { sink: SinkStatus; nowMs: number }) {
  const { audit } = sink;
  return (
    <section>
      <h3>
        {sink.name} <span class="note">{sink.type} from {sink.inputs.join(", ")}</span>{" "}
        <Ready ready={sink.ready} />
      </h3>
      {sink.cause !== null && (
        <p class="bad">
          {sink.cause.message}
          {sink.cause.hint !== null && <span class="note">{` (hint: ${sink.cause.hint})`}</span>}
        </p>
      )}
      <table>
        <tr>
          <th class="n">read</th>
          <th class="n">delivered</th>
          <th class="n">dropped</th>
          <th class="n">lost</th>
          <th class="n">buffered</th>
          <th class="n">in flight</th>
          <th class="n">retries</th>
          <th class="n">last acknowledgement</th>
        </tr>
        <tr>
          <td class="n">{formatCount(audit.read)}</td>
          <td class="n">{formatCount(audit.delivered)}</td>
          <td class={audit.dropped > 0 ? "n bad" : "n"}>{formatCount(audit.dropped)}</td>
          <td class={audit.lost > 0 ? "n bad" : "n"}>{formatCount(audit.lost)}</td>
          <td class="n">
            {formatCount(audit.buffered)}
            {sink.bufferMaxEvents > 0 && ` of ${formatCount(sink.bufferMaxEvents)}`}
            {sink.carriedEvents > 0 && ` and ${formatCount(sink.carriedEvents)} of earlier runs`},{" "}
            {formatBytes(sink.bufferedBytes)} of {formatBytes(sink.bufferMaxBytes)}
          </td>
          <td class="n">{formatCount(audit.inFlight)}</td>
          <td class="n">{formatCount(sink.retries)}</td>
          <td class="n">
            {sink.lastAckMs === null ? "none" : `${formatDuration(nowMs - sink.lastAckMs)} ago`}
          </td>
        </tr>
      </table>
      {audit.left !== 0 && <p class="bad">{formatCount(audit.left)} events are not accounted for</p>}
      {sink.dropped.map(({ source, reason, events }) => (
        <p class="bad">
          dropped from {source}: {formatCount(events)} ({reason})
        </p>
      ))}
      {sink.lost.map(({ cause, events }) => (
        <p class="bad" key={cause}>lost: {formatCount(events)} ({cause})</p>
      ))}
      {sink.partitionsInDoubt > 0 && (
        <p>
          {formatCount(sink.partitionsInDoubt)} partitions wait until it is found out what became of a batch
        </p>
      )}
      {sink.unprotectedPartitions > 0 && (
        <p class="bad">
          {formatCount(sink.unprotectedPartitions)}{" "}
          partitions on which the broker's de-duplication cannot be relied on
        </p>
      )}
      {sink.transactions !== null && <Transactions transactions={sink.transactions} nowMs={nowMs} />}
      {sink.lastError !== null && <p class="bad">last error: {sink.lastError}</p>}
    </section>
  );
}

function Transactions(
  { transactions, nowMs }: { transactions: NonNullable<SinkStatus["transactions"]>; nowMs: number },
) {
  const { committed, aborted, lastCommitMs } = transactions;
  const lastCommit = lastCommitMs === null ? "none" : `${formatDuration(nowMs - lastCommitMs)} ago`;
  return (
    <p>
      {formatCount(committed)} transactions committed, {formatCount(aborted)} aborted; last commit:{" "}
      {lastCommit}
    </p>
  );
}

function Source({ source }: { source: SourceStatus }) {
  return (
    <section>
      <h3>
        {source.name} <span class="note">{source.type}</span>
      </h3>
      <p>
        {formatCount(source.eventsIn)} events, {formatBytes(source.bytesIn)} read;{" "}
        {formatCount(source.watchedFiles)} files followed, {formatCount(source.openFiles)} open;{" "}
        {formatCount(source.rotations)} rotations, {formatCount(source.truncations)} truncations,{" "}
        {formatCount(source.truncatedLines)} lines cut, {formatCount(source.errors)} errors
        {source.lostBytes > 0 && <span class="bad">; {formatBytes(source.lostBytes)} lost</span>}
      </p>
      {source.files.length > 0 && <Files files={source.files} unlistedCount={source.unlistedFiles} />}
    </section>
  );
}

function Files({ files, unlistedCount }: { files: readonly FileStatus[]; unlistedCount: number }) {
  return (
    <table>
      <tr>
        <th>file</th>
        <th>to</th>
        <th class="n">size</th>
        <th class="n">read</th>
        <th class="n">delivered</th>
        <th class="n">lag</th>
      </tr>
      {files.map((file) => (
        <tr>
          <td class="path">{file.path}</td>
          <td>{file.sink}</td>
          <td class="n">{formatBytes(file.sizeBytes)}</td>
          <td class="n">{formatBytes(file.readBytes)}</td>
          <td class="n">{formatBytes(file.deliveredBytes)}</td>
          <td class="n">{formatBytes(file.lagBytes)}</td>
        </tr>
      ))}
      {unlistedCount > 0 && (
        <tr>
          <td class="note">and {formatCount(unlistedCount)} more with less lag</td>
        </tr>
      )}
    </table>
  );
}
