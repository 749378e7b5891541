import { close, constants, open } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { FileSourceConfig } from "../config/config.ts";
import { errnoName } from "../errors.ts";
import { type DiscoveryListener, FileDiscovery, NO_UTF8 } from "../source/file_discovery.ts";
import { type FileOps, systemFileOps } from "../source/file_ops.ts";
import { forbiddenFolder } from "../source/file_source.ts";
import type { GlobRoot } from "../source/glob_root.ts";
import { SourceMetrics } from "../telemetry/metrics.ts";
import { type CheckResult, found, passed, placeOf, someOf } from "./check_result.ts";

/** Files of one pattern that are opened; of more than these the rest is only counted. */
export const OPENED_MAX = 10_000;
/** As a source opens them: nothing waits, and no terminal is taken. Not even the time of access changes. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

const openAsync = promisify(open);
const closeAsync = promisify(close);

const NO_LISTENER: DiscoveryListener = { fileChanged() {}, nameChanged() {}, eventsLost() {} };

/** What a source's patterns lead to. */
export interface FoundFiles {
  readonly results: readonly CheckResult[];
  /** Files, each once. */
  readonly fileCount: number;
  /** Folders that a running shipper watches. */
  readonly folders: ReadonlySet<string>;
}

/**
 * Walks the patterns of a source as the source does, and opens each file for a moment, as the user that runs this. Nothing is watched,
 * nothing is read.
 */
export async function checkFiles(
  config: FileSourceConfig,
  dataDir: string,
  signal: AbortSignal,
): Promise<FoundFiles> {
  const look = new Look(dataDir, config);
  const results: CheckResult[] = [];
  const files = new Set<string>();
  for (const root of look.discovery.roots) {
    if (signal.aborted) break;
    const failures = new Map<string, string>();
    look.failures = failures;
    const walk = await look.discovery.walk(root);
    for (const file of walk.files.keys()) files.add(file);
    results.push(await judge(config, root, [...walk.files.keys()].sort(), failures, signal));
  }
  look.discovery.close();
  return { results, fileCount: files.size, folders: look.folders };
}

/** A discovery that notes what it could not look at. */
class Look {
  readonly discovery: FileDiscovery;
  readonly folders = new Set<string>();
  failures = new Map<string, string>();

  constructor(dataDir: string, config: FileSourceConfig) {
    const note = <T>(at: string, work: Promise<T>) =>
      work.catch((error: unknown) => {
        const errno = errnoName(error);
        this.failures.set(at, errno === "ENOENT" && at.includes(NO_UTF8) ? "EILSEQ" : errno);
        throw error;
      });
    const ops: FileOps = {
      ...systemFileOps,
      stat: (at, isLocal) => note(at, systemFileOps.stat(at, isLocal)),
      list: async (at, isLocal) => {
        this.folders.add(at);
        return await note(at, systemFileOps.list(at, isLocal));
      },
    };
    this.discovery = new FileDiscovery({
      source: config.name,
      include: config.include,
      exclude: config.exclude,
      ops,
      log: { debug() {}, info() {}, warn() {}, error() {} },
      metrics: new SourceMetrics(),
      listener: NO_LISTENER,
      isForbidden: forbiddenFolder(dataDir),
      isKnown: () => false,
      isWatching: false,
    });
    for (const root of this.discovery.roots) if (root.literal !== null) this.folders.add(root.folder);
  }
}

async function judge(
  config: FileSourceConfig,
  root: GlobRoot,
  files: readonly string[],
  failures: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<CheckResult> {
  const place = placeOf("files", { source: config.name, target: root.pattern });
  const pattern = `"${root.pattern}"`;
  const hidden = [...failures].filter(([, errno]) => errno !== "ENOENT");
  const unreadable: string[] = [];
  let errno = hidden[0]?.[1] ?? "EACCES";
  for (const file of files.slice(0, OPENED_MAX)) {
    if (signal.aborted) break;
    const failure = await failureToOpen(file);
    if (failure === null || failure === "ENOENT") continue;
    unreadable.push(file);
    errno = failure;
  }
  const count = `${files.length} ${files.length === 1 ? "file" : "files"}`;
  const bad = [...hidden.map(([at]) => at), ...unreadable];
  if (bad.length > 0) {
    const hint = errno === "EILSEQ"
      ? "Rename it, and what writes it: a name has to be UTF-8"
      : `Give the user that runs shipper the right: setfacl -m u:shipper:${hidden.length > 0 ? "rx" : "r"} ${
        bad[0]
      }`;
    return found(
      "failed",
      place,
      errno,
      `Pattern ${pattern} leads to ${count}; this user cannot read ${someOf(bad)} (${errno})`,
      hint,
    );
  }
  if (files.length > 0) {
    const rest = files.length > OPENED_MAX ? `, of which ${OPENED_MAX} were opened` : "";
    return passed(place, `Pattern ${pattern} leads to ${count}${rest}, all readable`);
  }
  const isMissing = failures.get(root.folder) === "ENOENT";
  return found(
    "warning",
    place,
    isMissing ? "no-folder" : "no-files",
    isMissing
      ? `Pattern ${pattern} leads to no file: there is no folder "${root.folder}"`
      : `Pattern ${pattern} leads to no file`,
    `Correct include, if files should be there: ls ${path.join(root.folder)}`,
  );
}

/** Null when the file can be opened for reading; else the errno. */
async function failureToOpen(file: string): Promise<string | null> {
  try {
    await closeAsync(await openAsync(file, OPEN_FLAGS));
    return null;
  } catch (error) {
    return errnoName(error);
  }
}
