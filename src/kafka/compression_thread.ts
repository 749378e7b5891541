import type { Log } from "../telemetry/log.ts";
import type { WorkerJob, WorkerResult, WorkerStart } from "./compression_worker.ts";
import type { KernelHost } from "./kernels.ts";
import { TABLE_BYTES } from "./kernels.ts";

/** Workers that are started in place of crashed ones; afterwards the work is done on the main thread. */
const RESTARTS_MAX = 3;

/** A job that a crash took away was not done: the caller does it itself. */
export const THREAD_LOST = -1;

interface PendingJob {
  readonly resolve: (sizeBytes: number) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The Worker that compresses, with its life: started by `start`, restarted after a crash, never keeping the process alive. Costs about
 * 10 MB of RSS and 4 ms on another core until it answers; `isReady` tells whether a job would wait for that.
 */
export class CompressionThread {
  readonly #host: KernelHost;
  readonly #log: Log;
  readonly #pending = new Map<number, PendingJob>();
  readonly #table: Buffer;
  #worker: Worker | null = null;
  #isReady = false;
  #restartsLeft = RESTARTS_MAX;
  #nextId = 1;

  constructor(host: KernelHost, log: Log) {
    this.#host = host;
    this.#log = log;
    this.#table = host.shared.allocate(TABLE_BYTES);
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Starts the Worker unless it runs already or has crashed too often. Does not wait for it. */
  start(): void {
    if (this.#worker !== null || this.#restartsLeft < 0) return;
    let worker: Worker;
    try {
      worker = new Worker(workerUrl());
    } catch (error) {
      this.#restartsLeft = -1;
      this.#warn("could not be started", String(error));
      return;
    }
    this.#worker = worker;
    worker.unref();
    worker.onmessage = (event: MessageEvent<WorkerResult>) => this.#settle(event.data);
    let reason = "it ended";
    worker.onerror = (event) => {
      event.preventDefault();
      reason = event.message;
    };
    // Only here is it certain that the thread writes nowhere any more, so that its jobs can be done again.
    worker.addEventListener("close", () => this.#lose(worker, reason));
    const { module, shared } = this.#host;
    worker.postMessage(
      { module, memory: shared.memory, table: shared.addressOf(this.#table) } satisfies WorkerStart,
    );
  }

  /**
   * Compresses in the Worker; only while `isReady`. Resolves with the size, or with `THREAD_LOST` when the Worker crashed meanwhile.
   * Rejects when the kernel failed.
   */
  run(codec: WorkerJob["codec"], source: number, length: number, target: number): Promise<number> {
    const worker = this.#worker;
    if (worker === null || !this.#isReady) return Promise.resolve(THREAD_LOST);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      // A job in flight must be finished even when nothing else keeps the event loop running.
      worker.ref();
      worker.postMessage({ id, codec, source, length, target } satisfies WorkerJob);
    });
  }

  /** Ends the Worker after the jobs in flight. It can't be started again. */
  close(): void {
    this.#restartsLeft = -1;
    this.#isReady = false;
    if (this.#pending.size === 0) this.#end();
  }

  #end(): void {
    const worker = this.#worker;
    this.#worker = null;
    worker?.terminate();
  }

  #settle(result: WorkerResult): void {
    if (result.id === 0) {
      this.#isReady = this.#restartsLeft >= 0;
      return;
    }
    const job = this.#pending.get(result.id);
    if (job === undefined) return;
    this.#pending.delete(result.id);
    if (this.#pending.size === 0) {
      if (this.#restartsLeft < 0) this.#end();
      else this.#worker?.unref();
    }
    if (result.error === null) job.resolve(result.sizeBytes);
    else job.reject(new Error(`Cannot compress a batch: the compressor failed with "${result.error}"`));
  }

  #lose(worker: Worker, reason: string): void {
    if (worker !== this.#worker) return;
    this.#worker = null;
    this.#isReady = false;
    this.#restartsLeft--;
    this.#warn("was lost", reason);
    this.start();
    this.#giveUpPending();
  }

  #giveUpPending(): void {
    const lost = [...this.#pending.values()];
    this.#pending.clear();
    for (const job of lost) job.resolve(THREAD_LOST);
  }

  #warn(what: string, reason: string): void {
    const next = this.#restartsLeft >= 0
      ? "another one is started"
      : "batches are compressed on the main thread from now on, which is slower";
    this.#log.warn(`The compression thread ${what}; ${next}`, { reason: reason.slice(0, 200) });
  }
}

/** In a compiled binary the entry points are under their path in the source tree; elsewhere they are files next to this one. */
function workerUrl(): string {
  return import.meta.url.includes("/$bunfs/") || import.meta.url.includes("/~BUN/")
    ? "./src/kafka/compression_worker.ts"
    : new URL("./compression_worker.ts", import.meta.url).href;
}
