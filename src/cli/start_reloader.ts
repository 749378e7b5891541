import { tellForgotten } from "../disk_buffers.ts";
import type { RunArgs } from "./args.ts";
import type { PendingHangUps } from "./hang_up.ts";
import { logStyle } from "./log_style.ts";
import { Reloader, type ReloaderOptions } from "./reloader.ts";
import type { RunProcess } from "./run_process.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { SinkHealth } from "./sink_health.ts";

export interface StartReloaderOptions
  extends Pick<ReloaderOptions, "marks" | "facts" | "pipeline" | "api" | "metrics"> {
  readonly args: RunArgs;
  readonly process: RunProcess;
  /** Of `shipper exec`. */
  readonly isWrapping: boolean;
  readonly hangUps: PendingHangUps;
  readonly health: SinkHealth;
  readonly log: Logger;
}

/**
 * From now on SIGHUP, and what happens to its files, has the configuration read again. Null where it is not: a run that has an end of its own keeps to
 * what it began with, which is said when somebody asks.
 */
export function startReloader(options: StartReloaderOptions): Reloader | null {
  const { args, process, hangUps, health, log, pipeline } = options;
  const reason = reasonAgainst(options);
  if (reason !== null) {
    if (args.watchConfig || pipeline.config.watchConfig) {
      log.info(`The configuration is not watched: ${reason}`);
    }
    hangUps.onReload = () => log.info(`The configuration is not read again: ${reason}`);
    return null;
  }
  const { watchTiming, now } = process;
  const reloader = new Reloader({
    ...options,
    configPaths: args.configPaths,
    context: process,
    isWatchWanted: args.watchConfig,
    now,
    onTaken: (config, outcome) => {
      log.setStyle(logStyle(config, args, process.stderr));
      if (outcome.kind !== "changed") return;
      if (outcome.plan.sinks.removed.length > 0) tellForgotten({ config, log });
      health.changed([...outcome.plan.sinks.added, ...outcome.plan.sinks.restarted]);
    },
    ...(watchTiming === undefined ? {} : { watchTiming }),
  });
  hangUps.onReload = () => {
    log.info("Reading the configuration again on SIGHUP");
    reloader.request();
  };
  return reloader;
}

function reasonAgainst({ args, isWrapping }: StartReloaderOptions): string | null {
  if (isWrapping) return "shipper exec reads it once";
  if (args.once) return "--once reads it once";
  return args.dryRun ? "--dry-run reads it once" : null;
}
