import { GarbagePacer } from "../telemetry/garbage_pacer.ts";
import { runJob, type StorageJob } from "./storage_jobs.ts";
import { systemOps } from "./storage_ops.ts";

/*
 * Entry point of the thread that writes and syncs a log. It has a thread of its own because the runtime's pool has two on a small machine:
 * compressions and reads there would make every commit wait.
 */

/** Every message; `id` from 1. */
export interface SyncRequest {
  readonly id: number;
  readonly job: StorageJob;
}

/** The answer; `error` is null when it worked. */
export interface SyncAnswer {
  readonly id: number;
  readonly value: number;
  readonly error: { readonly code: string; readonly message: string } | null;
}

declare const self: {
  onmessage: ((event: { readonly data: SyncRequest }) => void) | null;
  postMessage(answer: SyncAnswer): void;
};

/** Each message refers to memory of the thread that sent it, which lasts until this one's collector has looked. */
const garbagePacer = new GarbagePacer({ onIdle() {} });

self.onmessage = ({ data: { id, job } }) => {
  try {
    self.postMessage({ id, value: runJob(systemOps, job), error: null });
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const name = typeof code === "string" ? code : "UNKNOWN";
    self.postMessage({ id, value: 0, error: { code: name, message: String(message) } });
  }
  if ("bytes" in job) garbagePacer.add(job.bytes.length);
};
