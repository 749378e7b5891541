import type { FileSourceConfig, StdinSourceConfig } from "../config/config.ts";
import { errnoName, StartError } from "../errors.ts";
import { type DeviceGate, processDeviceGate } from "./device_gate.ts";
import { FileCatalog } from "./file_catalog.ts";
import { FileDiscovery } from "./file_discovery.ts";
import type { FileOps } from "./file_ops.ts";
import { systemFileOps } from "./file_ops.ts";
import { OpenFiles } from "./open_files.ts";
import { ReadScheduler } from "./read_scheduler.ts";
import type { Source } from "./source.ts";
import type { StdinFile } from "./stdin_file.ts";
import { tailBasics, type TailBasicsOptions } from "./tail_basics.ts";
import type { TailContext } from "./tail_context.ts";

/** How much of the beginning tells a file from another one with its inode. */
const FINGERPRINT_BYTES = 1_024;
/** What failed, and a read that hangs, is looked at again. */
const TICK_MS = 1_000;

export interface StdinFileSourceOptions extends TailBasicsOptions {
  readonly config: StdinSourceConfig;
  readonly file: StdinFile;
  readonly ops?: FileOps;
  readonly gate?: DeviceGate;
}

/**
 * Reads the file on stdin by its descriptor, from the stored position or, where nothing is stored, from where the descriptor stands, to the end
 * that it finds. Its lines are those of stdin, without a path; a later run with the same file goes on where this one ends. What is stored of
 * other files that came on stdin before stays as it is.
 *
 * `run` rejects with `StartError` when the file cannot be read at all.
 */
export function createStdinFileSource(options: StdinFileSourceOptions): Source {
  return new StdinFileSource(options);
}

class StdinFileSource implements Source {
  readonly name: string;
  readonly #options: StdinFileSourceOptions;
  readonly #ops: FileOps;
  readonly #scheduler: ReadScheduler;
  readonly #openFiles: OpenFiles;
  readonly #catalog: FileCatalog;
  readonly #done = new AbortController();
  #error: unknown = null;

  constructor(options: StdinFileSourceOptions) {
    const { config, outlets, checkpoint, metrics, log } = options;
    this.name = config.name;
    this.#options = options;
    this.#ops = descriptorOps(options.ops ?? systemFileOps, options.file.fd);
    const fileConfig = asFileConfig(config);
    const ops = this.#ops;
    const gate = options.gate ?? processDeviceGate;
    const monotonicMs = () => performance.now();
    this.#openFiles = new OpenFiles(ops, 1, metrics);
    this.#scheduler = new ReadScheduler({ outlets, gate, monotonicMs, log, source: config.name });
    const isForbidden = () => false;
    const discovery = new FileDiscovery({
      source: config.name,
      include: [],
      exclude: [],
      ops,
      log,
      metrics,
      listener: { fileChanged() {}, nameChanged() {}, eventsLost() {} },
      isForbidden,
      isKnown: () => true,
      isWatching: false,
    });
    const tail = this.#tailContext(fileConfig, { gate, monotonicMs, discovery });
    const shared = { outlets, checkpoint, discovery, tail, metrics, log, isForbidden };
    this.#catalog = new FileCatalog({ config: fileConfig, ...shared });
  }

  #tailContext(
    config: FileSourceConfig,
    { gate, monotonicMs, discovery }: {
      gate: DeviceGate;
      monotonicMs: () => number;
      discovery: FileDiscovery;
    },
  ): TailContext {
    return {
      ops: this.#ops,
      gate,
      nowMs: Date.now,
      monotonicMs,
      ...tailBasics(config, this.#options, () => this.#catalog),
      openFiles: this.#openFiles,
      scheduler: this.#scheduler,
      isOnce: true,
      isToLastEnd: true,
      onEnded: (file) => {
        this.#catalog.tailerEnded(file);
        if (this.#catalog.liveCount === 0) this.#done.abort();
      },
      onFailure: (file, error) => {
        this.#error = error;
        discovery.tellFailure(file.lastPath, "read", error);
      },
    };
  }

  async run(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#done.signal]);
    const reading = this.#scheduler.run(stop);
    reading.catch(() => this.#done.abort()); // awaited below
    const ticker = setInterval(() => this.#scheduler.tick(), TICK_MS);
    try {
      if (!stop.aborted) await this.#open();
      await reading;
    } finally {
      clearInterval(ticker);
      this.#done.abort();
      this.#openFiles.closeAll();
    }
  }

  leave(): void {
    this.#catalog.leave();
  }

  async #open(): Promise<void> {
    const { path, offset } = this.#options.file;
    const registered = await this.#catalog.register({
      path,
      stat: await this.#ops.fstat(this.#options.file.fd),
      basePath: "",
      isMatched: true,
      predecessor: null,
      startOffset: offset,
    });
    if (registered !== null && registered !== "later") {
      return this.#options.checkpoint.forgetUnseen(this.name);
    }
    this.#done.abort();
    throw new StartError(
      "stdin-unreadable",
      `Cannot read the file "${path}" on stdin of source "${this.name}": ${errnoName(this.#error)}`,
      "give it as a pipe, which needs no stored position: cat FILE | shipper",
    );
  }
}

/** The descriptor is the process's own: it is neither opened nor closed. */
function descriptorOps(ops: FileOps, fd: number): FileOps {
  return { ...ops, open: () => Promise.resolve(fd), close: () => {} };
}

function asFileConfig({ name, maxLineBytes, decoding }: StdinSourceConfig): FileSourceConfig {
  return {
    type: "file",
    name,
    include: [],
    exclude: [],
    readFrom: "beginning",
    ignoreOlderMs: null,
    maxLineBytes,
    globMinimumCooldownMs: TICK_MS,
    rotateWaitMs: 0,
    partialFlushAfterMs: 0,
    maxOpenFiles: 1,
    fingerprintBytes: FINGERPRINT_BYTES,
    rotated: "none",
    decoding,
  };
}
