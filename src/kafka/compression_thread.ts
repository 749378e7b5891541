import type { Log } from "../telemetry/log.ts";
import type { CompressionJob } from "./compression_job.ts";
import type { WorkerJob, WorkerResult, WorkerStart } from "./compression_worker.ts";
import { type KernelHost, TABLE_BYTES } from "./kernels.ts";

/** Workers that are started in place of crashed ones; afterwards the work is done on the main thread. */
const RESTARTS_MAX = 3;

/** The job was not done, because there is no Worker (any more): the caller does it itself. */
export const THREAD_LOST = -1;

interface PendingJob {
  readonly resolve: (sizeBytes: number) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The Worker that compresses, and its life: started by the first job, replaced after a crash, never keeping the process alive once its jobs
 * are done. Costs about 10 MB of RSS and 4 ms until its first answer.
 */
export class CompressionThread {
  readonly #host: KernelHost;
  readonly #log: Log;
  readonly #workerUrl: string;
  readonly #pending = new Map<number, PendingJob>();
  readonly #table: Buffer;
  #worker: Worker | null = null;
  #startsLeft = 1 + RESTARTS_MAX;
  #isClosed = false;
  #nextId = 1;

  /** `workerUrl` is replaced in tests only. */
  constructor(host: KernelHost, log: Log, workerUrl: string = compressionWorkerUrl()) {
    this.#host = host;
    this.#log = log;
    this.#workerUrl = workerUrl;
    this.#table = host.shared.allocate(TABLE_BYTES);
  }

  /**
   * Compresses in the Worker. Resolves with the size, or with `THREAD_LOST` when there is no Worker or it crashed meanwhile. Rejects when
   * the codec failed. The memory named by the job must stay valid until then.
   */
  run(job: CompressionJob): Promise<number> {
    const worker = this.#worker ?? this.#start();
    if (worker === null) return Promise.resolve(THREAD_LOST);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      // A job in flight must be finished even when nothing else keeps the event loop running.
      worker.ref();
      worker.postMessage({ ...job, id } satisfies WorkerJob);
    });
  }

  /** Ends the Worker after the jobs in flight, and starts none any more. */
  close(): void {
    this.#isClosed = true;
    if (this.#pending.size === 0) this.#end();
  }

  #start(): Worker | null {
    if (this.#isClosed || this.#startsLeft === 0) return null;
    this.#startsLeft--;
    let worker: Worker;
    try {
      worker = new Worker(this.#workerUrl);
    } catch (error) {
      this.#warn("could not be started", String(error));
      return null;
    }
    this.#worker = worker;
    worker.unref();
    let reason = "The Worker ended";
    worker.onmessage = (event: MessageEvent<WorkerResult>) => this.#settle(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      reason = event.message;
    };
    // Only here is it certain that the thread writes nowhere any more, so that its jobs can be done again.
    worker.addEventListener("close", () => this.#lose(worker, reason));
    const { module, shared } = this.#host;
    const table = shared.addressOf(this.#table);
    worker.postMessage({ module, memory: shared.memory, table } satisfies WorkerStart);
    return worker;
  }

  #settle(result: WorkerResult): void {
    const job = this.#pending.get(result.id);
    if (job === undefined) return;
    this.#pending.delete(result.id);
    if (this.#pending.size === 0) {
      if (this.#isClosed) this.#end();
      else this.#worker?.unref();
    }
    if (result.error === null) job.resolve(result.sizeBytes);
    else job.reject(new Error(`Cannot compress a batch: the codec failed with "${result.error}"`));
  }

  #lose(worker: Worker, reason: string): void {
    if (worker !== this.#worker) return;
    this.#worker = null;
    this.#warn("was lost", reason);
    const lost = [...this.#pending.values()];
    this.#pending.clear();
    for (const job of lost) job.resolve(THREAD_LOST);
  }

  #end(): void {
    const worker = this.#worker;
    this.#worker = null;
    worker?.terminate();
  }

  #warn(what: string, reason: string): void {
    const next = this.#startsLeft > 0
      ? "another one is started for the next batch"
      : "batches are compressed on the main thread from now on, which is slower";
    this.#log.warn(`The compression thread ${what}; ${next}`, { reason: reason.slice(0, 200) });
  }
}

/** In a compiled binary entry points are named by their path in the source tree; elsewhere the file is next to this one. */
function compressionWorkerUrl(): string {
  return import.meta.url.includes("/$bunfs/") || import.meta.url.includes("/~BUN/")
    ? "./src/kafka/compression_worker.ts"
    : new URL("./compression_worker.ts", import.meta.url).href;
}
