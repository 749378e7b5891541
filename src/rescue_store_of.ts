import type { PositionStore } from "./checkpoint/position_store.ts";
import type { Config } from "./config/config.ts";
import type { Journal } from "./journal/journal.ts";
import { faultyRescueOps, systemRescueOps } from "./source/rescue_ops.ts";
import { RescueStore } from "./source/rescue_store.ts";
import type { Log } from "./telemetry/log.ts";
import { fileFaults } from "./telemetry/test_knobs.ts";

export interface RescueStoreNeeds {
  readonly config: Pick<Config, "dataDir" | "rescueSizeBytesMax">;
  /** As they are at the time. */
  readonly sinks: () => Config["sinks"];
  readonly positions: PositionStore;
  readonly journal: Journal | null;
  readonly dryRun: boolean;
  readonly log: Log;
}

/** Null where no position is stored: nothing would find a copy again. */
export function rescueStoreOf(
  { config, sinks: currentSinks, positions, journal, dryRun, log }: RescueStoreNeeds,
): RescueStore | null {
  if (journal === null || dryRun) return null;
  const faults = fileFaults();
  return new RescueStore({
    dataDir: config.dataDir,
    sizeBytesMax: config.rescueSizeBytesMax,
    log,
    needs: (source, id) => {
      if (positions.record(source, id) === null) return null;
      const sinks = currentSinks().filter(({ inputs }) => inputs.includes(source));
      const known = sinks.flatMap(({ name }) => positions.position(source, id, name) ?? []);
      return known.length === 0 ? 0 : Math.min(...known);
    },
    flush: () => positions.flush(),
    ...(faults === null ? {} : { ops: faultyRescueOps(systemRescueOps, faults) }),
  });
}
