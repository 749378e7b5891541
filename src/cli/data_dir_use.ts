import { existsSync } from "node:fs";
import path from "node:path";
import type { Config, SinkConfig } from "../config/config.ts";
import { JOURNAL_FOLDER } from "../journal/journal_reader.ts";
import type { Log } from "../telemetry/log.ts";

/**
 * Whether anything is kept in `data_dir`: positions of files (`hasStdinFile`: one is on stdin), or a buffer on disk. Sinks that store their
 * positions in Kafka need none, and a console beside them is not worth a disk; where something is there from before `delivery` was changed, it is
 * said that nobody looks at it, where there is a log.
 */
export function needsDataDir(config: Config, hasStdinFile: boolean, log: Log | null): boolean {
  const { sources, sinks } = config;
  if (sinks.some((sink) => sink.buffer.type === "disk")) return true;
  const hasFiles = hasStdinFile || sources.some(({ type }) => type === "file");
  if (log !== null && hasFiles && areOwnPositions(sinks)) tellUnused(config, log);
  return hasFiles && !areOwnPositions(sinks);
}

function tellUnused({ dataDir }: Config, log: Log): void {
  if (!existsSync(path.join(dataDir, JOURNAL_FOLDER))) return;
  log.warn(
    `The positions, batches and buffers in "${dataDir}" are not used: delivery = "transactional" keeps positions in Kafka, and files that have ` +
      "none there are read from read_from",
    {
      hint: `go back to delivery = "exactly_once" until all is delivered, or remove it: rm -r ${dataDir}`,
    },
  );
}

function areOwnPositions(sinks: readonly SinkConfig[]): boolean {
  const isTransactional = (sink: SinkConfig) => sink.type === "kafka" && sink.delivery === "transactional";
  return sinks.some(isTransactional) &&
    sinks.every((sink) => sink.type === "console" || isTransactional(sink));
}
