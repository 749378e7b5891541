import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { PositionStore } from "../../src/checkpoint/position_store.ts";
import type { FileSourceConfig } from "../../src/config/config.ts";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import type { DeviceGate } from "../../src/source/device_gate.ts";
import type { FileOps } from "../../src/source/file_ops.ts";
import { createFileSource } from "../../src/source/file_source.ts";
import type { RescueOps } from "../../src/source/rescue_ops.ts";
import { RescueStore } from "../../src/source/rescue_store.ts";
import type { Log } from "../../src/telemetry/log.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { FakeOutlet } from "./fake_outlet.ts";
import { StoredPositions } from "./stored_positions.ts";

/** Keeps what was logged, as "level: message". */
export class MemoryLog implements Log {
  readonly entries: string[] = [];
  debug = (message: string) => void this.entries.push(`debug: ${message}`);
  info = (message: string) => void this.entries.push(`info: ${message}`);
  warn = (message: string) => void this.entries.push(`warn: ${message}`);
  error = (message: string) => void this.entries.push(`error: ${message}`);

  matching(part: string): string[] {
    return this.entries.filter((entry) => entry.includes(part));
  }
}

export interface RunOptions {
  readonly config?: Partial<FileSourceConfig>;
  readonly once?: boolean;
  readonly sinks?: readonly string[];
  readonly rooms?: readonly number[];
  readonly isSettling?: boolean;
  readonly ops?: FileOps;
  readonly gate?: DeviceGate;
  readonly now?: () => number;
  readonly monotonic?: () => number;
  /** Copies of deleted files may take so much; without it none are made. */
  readonly rescueSizeBytesMax?: number;
  readonly rescueOps?: RescueOps;
  /** In place of a `FakeOutlet`. */
  readonly makeOutlet?: (sink: string, store: PositionStore) => FakeOutlet;
}

/** A source at work, until `stop`. */
export interface Running {
  readonly outlets: readonly FakeOutlet[];
  readonly outlet: FakeOutlet;
  readonly store: PositionStore;
  readonly metrics: SourceMetrics;
  readonly log: MemoryLog;
  readonly rescue: RescueStore | null;
  /** Resolves when the source has ended by itself. */
  readonly ended: Promise<void>;
  /** Stops it as a shutdown does, positions stored. */
  stop(): Promise<void>;
  /** Stops it as kill -9 does: only what was stored by then is there afterwards. */
  kill(): Promise<void>;
}

/** A folder for logs and one for data_dir, and sources over them. */
export class Bench {
  readonly folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "shipper-source-")));
  readonly logs = path.join(this.folder, "logs");
  readonly dataDir = path.join(this.folder, "data");
  /** What a restart finds. */
  readonly stored = new StoredPositions();
  readonly #running = new Set<Running>();

  constructor() {
    fs.mkdirSync(this.logs);
    fs.mkdirSync(this.dataDir);
  }

  path(name: string): string {
    return path.join(this.logs, name);
  }

  write(name: string, text: string): void {
    fs.writeFileSync(this.path(name), text);
  }

  append(name: string, text: string): void {
    fs.appendFileSync(this.path(name), text);
  }

  rename(from: string, to: string): void {
    fs.renameSync(this.path(from), this.path(to));
  }

  async start(options: RunOptions = {}): Promise<Running> {
    const log = new MemoryLog();
    const store = this.stored.open(options.now);
    const metrics = new SourceMetrics();
    const sinks = options.sinks ?? ["out"];
    const outlets = sinks.map((sink, index) => {
      const outlet = options.makeOutlet?.(sink, store) ?? new FakeOutlet(
        sink,
        store,
        options.rooms?.[index] ?? Infinity,
        options.config?.maxLineBytes,
      );
      outlet.isSettling = options.isSettling ?? true;
      return outlet;
    });
    const rescue = this.#rescue(options, store, sinks, log);
    const stopping = new AbortController();
    const source = createFileSource({
      config: { ...this.config(), ...options.config },
      outlets,
      checkpoint: store,
      metrics,
      log,
      once: options.once ?? false,
      dataDir: this.dataDir,
      rescue,
      pool: new BufferPool(),
      ...(options.ops === undefined ? {} : { ops: options.ops }),
      ...(options.gate === undefined ? {} : { gate: options.gate }),
      ...(options.now === undefined ? {} : { now: options.now }),
      ...(options.monotonic === undefined ? {} : { monotonic: options.monotonic }),
    });
    const ended = source.run(stopping.signal);
    ended.catch(() => {}); // awaited by `stop`
    const end = async () => {
      this.#running.delete(running);
      stopping.abort();
      await ended;
    };
    const running: Running = {
      outlets,
      outlet: outlets[0]!,
      store,
      metrics,
      log,
      rescue,
      ended,
      stop: async () => {
        await end();
        await rescue?.close(1_000);
        await store.flush();
        store.close();
      },
      kill: async () => {
        store.close();
        this.stored.cutOff();
        await end();
      },
    };
    this.#running.add(running);
    return running;
  }

  #rescue(
    options: RunOptions,
    store: PositionStore,
    sinks: readonly string[],
    log: MemoryLog,
  ): RescueStore | null {
    if (options.rescueSizeBytesMax === undefined) return null;
    return new RescueStore({
      dataDir: this.dataDir,
      sizeBytesMax: options.rescueSizeBytesMax,
      log,
      needs: (source, id) => {
        if (store.record(source, id) === null) return null;
        return Math.min(...sinks.map((sink) => store.position(source, id, sink) ?? 0));
      },
      flush: () => store.flush(),
      ...(options.rescueOps === undefined ? {} : { ops: options.rescueOps }),
    });
  }

  config(): FileSourceConfig {
    return {
      type: "file",
      name: "app",
      include: [path.join(this.logs, "*.log")],
      exclude: [],
      readFrom: "beginning",
      ignoreOlderMs: null,
      maxLineBytes: 262_144,
      globMinimumCooldownMs: 200,
      rotateWaitMs: 300,
      partialFlushAfterMs: 5_000,
      maxOpenFiles: null,
      fingerprintBytes: 1_024,
      rotated: "auto",
      decoding: { codec: "text" },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of [...this.#running]) await running.stop();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** "prefix 0\n" .. "prefix n-1\n". */
export function numbered(prefix: string, count: number, from = 0): string {
  let text = "";
  for (let i = from; i < from + count; i++) text += `${prefix} ${i}\n`;
  return text;
}

/** Resolves when `isDone`; rejects after ten seconds. */
export async function until(isDone: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!isDone()) {
    if (performance.now() > deadline) throw new Error("Timed out");
    await Bun.sleep(5);
  }
}
