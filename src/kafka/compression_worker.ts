import { bindKernels, type Kernels } from "./kernels.ts";

/*
 * Entry point of the thread that compresses LZ4 and snappy. It works in the memory it shares with the main thread: a job is a few numbers,
 * and so is its answer. It knows nothing of buffers and their owners.
 */

/** The first message. The addresses are of scratch memory that only this thread uses. */
export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly table: number;
}

/** Every other message. Addresses and lengths as in `Kernels`. */
export interface WorkerJob {
  readonly id: number;
  readonly codec: "lz4" | "snappy";
  readonly source: number;
  readonly length: number;
  readonly target: number;
}

/** The answer to a job, and to the start (id 0). `error` is null when it worked. */
export interface WorkerResult {
  readonly id: number;
  readonly sizeBytes: number;
  readonly error: string | null;
}

declare const self: {
  onmessage: ((event: { readonly data: WorkerStart | WorkerJob }) => void) | null;
  postMessage(result: WorkerResult): void;
};

let kernels: Kernels | null = null;
let table = 0;

self.onmessage = ({ data }) => {
  if ("module" in data) {
    kernels = bindKernels(data.module, data.memory);
    table = data.table;
    self.postMessage({ id: 0, sizeBytes: 0, error: null });
    return;
  }
  self.postMessage(run(data));
};

function run(job: WorkerJob): WorkerResult {
  if (kernels === null) {
    return { id: job.id, sizeBytes: 0, error: "Worker got a job before its start message" };
  }
  try {
    const kernel = job.codec === "lz4" ? kernels.lz4Frame : kernels.snappyXerial;
    return { id: job.id, sizeBytes: kernel(job.source, job.length, job.target, table), error: null };
  } catch (error) {
    // A trap: the kernel ran out of its memory, which is a bug and would happen again.
    return { id: job.id, sizeBytes: 0, error: String(error) };
  }
}
