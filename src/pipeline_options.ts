import type { DiskBuffer } from "./buffer/disk_buffer.ts";
import type { PositionStore } from "./checkpoint/position_store.ts";
import type { Config, SinkConfig } from "./config/config.ts";
import type { BufferPool } from "./event/pooled_buffer.ts";
import type { Journal } from "./journal/journal.ts";
import type { Command } from "./source/command.ts";
import type { StdinFile } from "./source/stdin_file.ts";
import type { Log } from "./telemetry/log.ts";
import type { Metrics } from "./telemetry/metrics.ts";

export interface PipelineOptions {
  /** What it begins with. */
  readonly config: Config;
  readonly positions: PositionStore;
  /** Null where nothing can be read again after a crash, or nothing is sent. */
  readonly journal: Journal | null;
  /** By sink; `openDiskBuffers`. Kept up to date while sinks change; those that are in it at the end are closed by the caller. */
  readonly diskBuffers: Map<string, DiskBuffer>;
  /** Opens the disk buffer of a sink that comes or starts anew; null: it needs none. Throws `StartError`. Default: none does. */
  readonly openDiskBuffer?: (sink: SinkConfig) => Promise<DiskBuffer | null>;
  readonly pool: BufferPool;
  readonly hostname: string;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Read what is there, then end. */
  readonly once: boolean;
  /** Print what would be sent instead of sending it. */
  readonly dryRun: boolean;
  /** Takes the place of stdin; its end is the end of the run. */
  readonly wrapped?: WrappedCommand | null;
  /** The file on stdin whose position is kept; null or not there: stdin is read as a pipe. */
  readonly stdinFile?: StdinFile | null;
  readonly now: () => number;
  readonly random: () => number;
}

/** What `shipper exec` starts. */
export interface WrappedCommand {
  readonly command: Command;
  /** Its output goes to this process's stdout and stderr, too. */
  readonly tee: boolean;
}
