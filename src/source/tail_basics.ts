import type { SourcePositions } from "../checkpoint/checkpoint.ts";
import type { FileSourceConfig } from "../config/config.ts";
import type { Outlet } from "../event/chunk.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { Gaps } from "../event/gaps.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import type { FileCatalog } from "./file_catalog.ts";
import { LostBytes } from "./lost_bytes.ts";
import type { TailContext } from "./tail_context.ts";

/** What every source of files is given. */
export interface TailBasicsOptions {
  /** At least one. */
  readonly outlets: readonly Outlet[];
  readonly checkpoint: SourcePositions;
  readonly metrics: SourceMetrics;
  readonly log: Log;
  readonly pool: BufferPool;
  /** Where what is lost for a sink is noted to be told downstream; null or not there: nowhere. */
  readonly gaps?: (sink: string) => Gaps | null;
}

/** What the tailers of every source of files have alike. `catalog`: made after this. */
export function tailBasics(
  config: FileSourceConfig,
  { outlets, checkpoint, metrics, log, pool, gaps = () => null }: TailBasicsOptions,
  catalog: () => FileCatalog,
) {
  const sinks = outlets.map((outlet) => outlet.sink);
  return {
    positions: checkpoint,
    lost: new LostBytes({ source: config.name, sinks, positions: checkpoint, metrics, log, gaps }),
    pool,
    maxLineBytes: config.maxLineBytes,
    fingerprintBytes: config.fingerprintBytes,
    rotateWaitMs: config.rotateWaitMs,
    partialFlushAfterMs: config.partialFlushAfterMs,
    onCutOff: (file, sizeBytes) => catalog().cutOff(file, sizeBytes),
    onCutBack: (tailer, offset, sizeBytes) => catalog().cutBack(tailer, offset, sizeBytes),
    onHead: (file, head) => catalog().sawHead(file, head),
  } satisfies Partial<TailContext>;
}
