import type { GroupWriter } from "./group_writer.ts";
import type { StorageJob } from "./storage_jobs.ts";
import type { SyncAnswer, SyncRequest } from "./sync_worker.ts";

interface PendingJob {
  readonly resolve: (value: number) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The Worker that writes and syncs a log (`durability = "machine"`), and its life: started by the first job, replaced by the next job after
 * a crash, never keeping the process alive once its jobs are done. The bytes of a group lie in shared memory, so none is copied to it.
 *
 * A crash rejects the jobs that it had. How far they came is unknown, as after a failed write.
 */
export class SyncThread implements GroupWriter {
  readonly #workerUrl: string;
  readonly #pending = new Map<number, PendingJob>();
  #worker: Worker | null = null;
  #isClosed = false;
  #nextId = 1;

  /** `workerUrl` is replaced in tests only. */
  constructor(workerUrl: string = syncWorkerUrl()) {
    this.#workerUrl = workerUrl;
  }

  allocate(sizeBytes: number): Buffer {
    return Buffer.from(new SharedArrayBuffer(sizeBytes));
  }

  run(job: StorageJob): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new Error("The storage thread was closed");
      const worker = this.#worker ?? this.#start();
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      // A job in flight must be finished even when nothing else keeps the event loop running.
      worker.ref();
      worker.postMessage({ id, job } satisfies SyncRequest);
    });
  }

  close(atOnce: boolean): void {
    this.#isClosed = true;
    if (atOnce || this.#pending.size === 0) this.#end();
  }

  #start(): Worker {
    const worker = new Worker(this.#workerUrl);
    this.#worker = worker;
    worker.unref();
    let reason = "it ended";
    worker.onmessage = (event: MessageEvent<SyncAnswer>) => this.#settle(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      reason = event.message;
    };
    // Only here is it certain that the thread writes nothing any more.
    worker.addEventListener("close", () => this.#lose(worker, reason));
    return worker;
  }

  #settle({ id, value, error }: SyncAnswer): void {
    const job = this.#pending.get(id);
    if (job === undefined) return;
    this.#pending.delete(id);
    if (this.#pending.size === 0) {
      if (this.#isClosed) this.#end();
      else this.#worker?.unref();
    }
    if (error === null) job.resolve(value);
    else job.reject(Object.assign(new Error(error.message), { code: error.code }));
  }

  #lose(worker: Worker, reason: string): void {
    if (worker !== this.#worker) return;
    this.#worker = null;
    const lost = [...this.#pending.values()];
    this.#pending.clear();
    for (const job of lost) job.reject(new Error(`The storage thread was lost: ${reason.slice(0, 200)}`));
  }

  #end(): void {
    const worker = this.#worker;
    this.#worker = null;
    worker?.terminate();
  }
}

/** In a compiled binary entry points are named by their path in the source tree; elsewhere the file is next to this one. */
function syncWorkerUrl(): string {
  return import.meta.url.includes("/$bunfs/") || import.meta.url.includes("/~BUN/")
    ? "./src/storage/sync_worker.ts"
    : new URL("./sync_worker.ts", import.meta.url).href;
}
