import type { Outlet } from "../event/chunk.ts";
import type { Log } from "../telemetry/log.ts";
import type { DeviceGate } from "./device_gate.ts";
import { untilHung } from "./device_gate.ts";
import type { FileTailer } from "./file_tailer.ts";

/** After a read that found the end, the next one of that file waits this long: a busy writer's lines are read together. */
export const READ_INTERVAL_MS_MIN = 1;

/** A read that is still under way this long after the stop is left to itself. */
const STOP_WAIT_MS = 1_000;

/** The files that have something to read for one outlet, in turn. */
class Lane {
  readonly outlet: Outlet;
  readonly queue: FileTailer[] = [];
  /** The worker that may take from the queue. A worker whose read hangs is replaced, and ends when its read returns. */
  workerId = 0;
  /** Device that the worker reads from or waits for; null when it does not. */
  workerDevice: string | null = null;
  /** `workerDevice` is the one that an earlier worker hangs at; its replacement has read nothing yet. */
  isReplaced = false;
  wake: (() => void) | null = null;

  constructor(outlet: Outlet) {
    this.outlet = outlet;
  }

  signal(): void {
    const wake = this.wake;
    this.wake = null;
    wake?.();
  }
}

export interface ReadSchedulerOptions {
  readonly outlets: readonly Outlet[];
  readonly gate: DeviceGate;
  readonly monotonicMs: () => number;
  readonly log: Log;
  readonly source: string;
}

/**
 * Who reads next: round robin over the files that are ready, one buffer a turn, for each outlet apart. A full outlet stops its own lane
 * only. A read that hangs stops the files of its device only.
 */
export class ReadScheduler {
  readonly #options: ReadSchedulerOptions;
  readonly #lanes: readonly Lane[];
  #deferred: FileTailer[] = [];
  #deferTimer: ReturnType<typeof setTimeout> | null = null;
  readonly #deadlines = new Map<FileTailer, number>();
  #deadlineTimer: ReturnType<typeof setTimeout> | null = null;
  #deadlineTimerMs = Infinity;
  readonly #failed = new Set<FileTailer>();
  readonly #workers = new Set<Promise<void>>();
  #signal: AbortSignal | null = null;
  #reject: ((error: unknown) => void) | null = null;

  constructor(options: ReadSchedulerOptions) {
    this.#options = options;
    this.#lanes = options.outlets.map((outlet) => new Lane(outlet));
  }

  /** Works until `signal` aborts, and then until no read is under way but those that hang. Rejects only on a bug. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const failure = new Promise<never>((_, reject) => this.#reject = reject);
    for (const lane of this.#lanes) this.#startWorker(lane);
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) return resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    try {
      await Promise.race([stopped, failure]);
    } finally {
      if (this.#deferTimer !== null) clearTimeout(this.#deferTimer);
      if (this.#deadlineTimer !== null) clearTimeout(this.#deadlineTimer);
      for (const lane of this.#lanes) lane.signal();
    }
    const workers = Promise.all(this.#workers).then(() => {});
    await untilHung(Promise.race([workers, failure]), STOP_WAIT_MS, () => {});
  }

  /** Workers that have not ended. For tests. */
  get workerCount(): number {
    return this.#workers.size;
  }

  /** Gives the tailer a turn soon. Only a tailer that is not queued yet. */
  enqueue(tailer: FileTailer): void {
    if (this.#options.monotonicMs() - tailer.lastEndMs < READ_INTERVAL_MS_MIN) {
      this.#deferred.push(tailer);
      this.#deferTimer ??= setTimeout(() => this.#undefer(), READ_INTERVAL_MS_MIN);
      return;
    }
    this.#push(tailer);
  }

  /** Gives the tailer a turn at that time (monotonic), in place of an earlier request. */
  setDeadline(tailer: FileTailer, atMs: number): void {
    if (this.#signal?.aborted) return;
    this.#deadlines.set(tailer, atMs);
    if (atMs < this.#deadlineTimerMs) this.#armDeadline(atMs);
  }

  clearDeadline(tailer: FileTailer): void {
    this.#deadlines.delete(tailer);
  }

  /** Gives the tailer a turn at the next `tick`. */
  retryAtTick(tailer: FileTailer): void {
    this.#failed.add(tailer);
  }

  /** Called once a second: takes up what failed, and works around reads that hang. */
  tick(): void {
    const failed = [...this.#failed];
    this.#failed.clear();
    for (const tailer of failed) tailer.retry();
    for (const lane of this.#lanes) {
      const device = lane.workerDevice;
      if (device !== null && this.#options.gate.isHung(device)) {
        if (this.#options.gate.shouldTell(device)) {
          this.#options.log.warn(
            `Reading from device ${device} does not come back: its files wait, the files of other devices go on`,
            { source: this.#options.source },
          );
        }
        if (lane.queue.length > 0 && !lane.isReplaced) this.#startWorker(lane);
      }
      lane.signal();
    }
  }

  #push(tailer: FileTailer): void {
    const lane = this.#lanes[tailer.outletIndex]!;
    lane.queue.push(tailer);
    lane.signal();
  }

  #undefer(): void {
    this.#deferTimer = null;
    const due = this.#deferred;
    this.#deferred = [];
    for (const tailer of due) this.#push(tailer);
  }

  #armDeadline(atMs: number): void {
    if (this.#deadlineTimer !== null) clearTimeout(this.#deadlineTimer);
    this.#deadlineTimerMs = atMs;
    const waitMs = Math.max(1, Math.ceil(atMs - this.#options.monotonicMs()));
    this.#deadlineTimer = setTimeout(() => this.#expire(), waitMs);
  }

  #expire(): void {
    this.#deadlineTimer = null;
    this.#deadlineTimerMs = Infinity;
    const nowMs = this.#options.monotonicMs();
    let nextMs = Infinity;
    for (const [tailer, atMs] of this.#deadlines) {
      if (atMs > nowMs) {
        nextMs = Math.min(nextMs, atMs);
      } else {
        this.#deadlines.delete(tailer);
        tailer.wake();
      }
    }
    if (nextMs < this.#deadlineTimerMs) this.#armDeadline(nextMs);
  }

  #startWorker(lane: Lane): void {
    lane.isReplaced = true;
    const worker = this.#work(lane, ++lane.workerId);
    this.#workers.add(worker);
    worker.catch((error) => this.#reject!(error)).finally(() => this.#workers.delete(worker));
  }

  async #work(lane: Lane, id: number): Promise<void> {
    const signal = this.#signal!;
    const { gate } = this.#options;
    while (!signal.aborted && lane.workerId === id) {
      const index = lane.queue.findIndex((tailer) => !gate.isHung(tailer.file.device));
      if (index === -1) {
        await new Promise<void>((resolve) => lane.wake = resolve);
        continue;
      }
      if (!lane.outlet.hasRoom()) {
        await lane.outlet.waitForRoom(signal);
        continue;
      }
      const tailer = lane.queue.splice(index, 1)[0]!;
      await tailer.turn(signal, (device) => {
        if (lane.workerId !== id) return;
        lane.workerDevice = device;
        lane.isReplaced = false;
      });
    }
  }
}
