import type { Config } from "../config/config.ts";
import { checkClock, checkDataDir, type DataDirContext } from "./data_dir_checks.ts";
import { type CheckResult, placeOf } from "./check_result.ts";
import { checkFiles, type FoundFiles } from "./file_checks.ts";
import { runCheck } from "./run_check.ts";
import { checkKafkaSink, type SinkCheckContext } from "./sink_checks.ts";
import { checkInotify, checkOpenFiles } from "./system_limits.ts";

/** Looking through the folders of one source. */
export const FILES_CHECK_MAX_MS = 30_000;
/** Looking at data_dir and reading its journal. */
export const DATA_DIR_CHECK_MAX_MS = 30_000;

export interface CheckAllContext extends SinkCheckContext, DataDirContext {
  /** Whether anything is kept in data_dir. */
  readonly needsDataDir: boolean;
}

/**
 * Everything that a shipper with this configuration needs of the machine and of its brokers. Nothing is written, no lock is taken and no producer id
 * asked for: it may run beside a shipper with the same configuration. All at once; the order of the results is that of the configuration,
 * whatever answers first. Never rejects.
 */
export async function checkAll(config: Config, context: CheckAllContext): Promise<readonly CheckResult[]> {
  const files = config.sources.map((source) =>
    source.type === "file" ? filesOf(source, config.dataDir) : NO_FILES
  );
  const sinks = config.sinks.map((sink) =>
    sink.type === "kafka" ? checkKafkaSink(sink, context) : Promise.resolve([])
  );
  const dataDir = !context.needsDataDir ? Promise.resolve([]) : runCheck({
    place: placeOf("data_dir", { target: config.dataDir }),
    timeoutMs: DATA_DIR_CHECK_MAX_MS,
    what: `look at data_dir "${config.dataDir}"`,
    run: () => checkDataDir(config, context),
  });
  const found = await Promise.all(files);
  const needed = {
    fileCount: found.reduce((sum, each) => sum + each.fileCount, 0),
    folderCount: new Set(found.flatMap((each) => [...each.folders])).size,
  };
  return [
    checkClock(context.now),
    ...await dataDir,
    ...found.flatMap((each) => each.results),
    ...checkOpenFiles(config, needed),
    ...checkInotify(config, needed),
    ...(await Promise.all(sinks)).flat(),
  ];
}

const NO_FILES: Promise<FoundFiles> = Promise.resolve({ results: [], fileCount: 0, folders: new Set() });

async function filesOf(
  source: Extract<Config["sources"][number], { type: "file" }>,
  dataDir: string,
): Promise<FoundFiles> {
  let found: FoundFiles | null = null;
  const results = await runCheck({
    place: placeOf("files", { source: source.name }),
    timeoutMs: FILES_CHECK_MAX_MS,
    what: `look at the files of source "${source.name}"`,
    run: async (signal) => (found = await checkFiles(source, dataDir, signal)).results,
  });
  return { ...(found ?? await NO_FILES), results };
}
