import { GarbagePacer } from "../telemetry/garbage_pacer.ts";
import { type CompressionJob, type JobContext, runJob } from "./compression_job.ts";
import { bindKernels } from "./kernels.ts";

/*
 * Entry point of the thread that compresses. It works in the memory it shares with the main thread: a job is a few numbers, and so is its
 * answer. It knows nothing of buffers and their owners.
 */

/** The first message. `table` is the address of scratch memory that only this thread uses. */
export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly table: number;
}

/** Every other message. */
export interface WorkerJob extends CompressionJob {
  /** From 1. */
  readonly id: number;
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

/**
 * Collections of this thread's garbage are asked for after this many bytes of input. It has next to no objects, and the runtime counts the
 * shared memory as its heap, so there is rarely a reason for one. Meanwhile the results of the runtime's gzip and zstd, in memory of their
 * own, pile up (resident memory went up and down by 40 MB), and what comes and goes with the messages (10 MB in 10 million lines).
 */
const COLLECT_AFTER_BYTES = 32 * 1_048_576;

let context: JobContext | null = null;
const garbagePacer = new GarbagePacer({ everyBytes: COLLECT_AFTER_BYTES });

self.onmessage = ({ data }) => {
  if ("module" in data) {
    const { module, memory, table } = data;
    context = { kernels: bindKernels(module, memory), memory, table };
    self.postMessage({ id: 0, sizeBytes: 0, error: null });
    return;
  }
  self.postMessage(answer(data));
  garbagePacer.add(data.length);
};

function answer(job: WorkerJob): WorkerResult {
  if (context === null) return { id: job.id, sizeBytes: 0, error: "Job came before the start message" };
  try {
    return { id: job.id, sizeBytes: runJob(job, context), error: null };
  } catch (error) {
    return { id: job.id, sizeBytes: 0, error: String(error) };
  }
}
