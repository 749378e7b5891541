import { runJob, type StorageJob } from "./storage_jobs.ts";
import type { StorageOps } from "./storage_ops.ts";

/** Does what writes to a log's folder, one job after the other, in the order in which they are given. */
export interface GroupWriter {
  /** Zero-filled memory for groups that this writer can reach. */
  allocate(sizeBytes: number): Buffer;
  /**
   * Resolves with the file that the job opened, else 0. Rejects with the system's error (`code`), or with another one when the writer was
   * lost: then it is not known how far the job came. The job's bytes stay as they are until then.
   */
  run(job: StorageJob): Promise<number>;
  /** Ends it after the jobs that it was given; at once, when the disk does not answer any more. */
  close(atOnce: boolean): void;
}

/** Works on the thread that calls, within the call: for `durability = "process"`, where next to nothing waits for the device. */
export class DirectWriter implements GroupWriter {
  readonly #ops: StorageOps;

  constructor(ops: StorageOps) {
    this.#ops = ops;
  }

  allocate(sizeBytes: number): Buffer {
    return Buffer.alloc(sizeBytes);
  }

  run(job: StorageJob): Promise<number> {
    // Zeros are written while nobody waits; the events go first.
    if (job.kind === "fill") {
      return new Promise((resolve, reject) =>
        setImmediate(() => {
          try {
            resolve(runJob(this.#ops, job));
          } catch (error) {
            reject(error);
          }
        })
      );
    }
    try {
      return Promise.resolve(runJob(this.#ops, job));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  close(_atOnce: boolean): void {}
}
