/** A system call that takes longer than this is taken for hung: its device is left alone, and other devices go on. */
export const HUNG_MS = 1_000;
/** Whoever reads once has no later try: a call may take this long there before it is given up, and the exit code says so. */
export const ONCE_HUNG_MS = 30_000;
/** A hung call is told to the operator after this. */
export const HUNG_WARN_MS = 5_000;

interface Holder {
  sinceMs: number;
  isTold: boolean;
  readonly waiters: (() => void)[];
}

/**
 * At most one read at a time per device. The thread pool may have no more than two slots, shared with compression and syncs: a dead mount
 * may take one of them, never all. A single read at a time is no slower: the page cache gives 3 GB/s to one.
 */
export class DeviceGate {
  readonly #holders = new Map<string, Holder>();
  readonly #monotonicMs: () => number;

  constructor(monotonicMs: () => number = () => performance.now()) {
    this.#monotonicMs = monotonicMs;
  }

  /** Waits for the device, first come, first served. Each `acquire` is followed by one `release`. */
  async acquire(device: string): Promise<void> {
    const holder = this.#holders.get(device);
    if (holder === undefined) {
      this.#holders.set(device, { sinceMs: this.#monotonicMs(), isTold: false, waiters: [] });
      return;
    }
    await new Promise<void>((resolve) => holder.waiters.push(resolve));
  }

  release(device: string): void {
    const holder = this.#holders.get(device);
    if (holder === undefined) throw new Error(`Cannot release device ${device}: nobody holds it`);
    const next = holder.waiters.shift();
    if (next === undefined) {
      this.#holders.delete(device);
      return;
    }
    holder.sinceMs = this.#monotonicMs();
    holder.isTold = false;
    next();
  }

  isHung(device: string): boolean {
    const holder = this.#holders.get(device);
    return holder !== undefined && this.#monotonicMs() - holder.sinceMs > HUNG_MS;
  }

  /** True once for each call that has hung for `HUNG_WARN_MS`. */
  shouldTell(device: string): boolean {
    const holder = this.#holders.get(device);
    if (holder === undefined || holder.isTold || this.#monotonicMs() - holder.sinceMs < HUNG_WARN_MS) {
      return false;
    }
    holder.isTold = true;
    return true;
  }
}

/** One gate for the process, as there is one thread pool. */
export const processDeviceGate = new DeviceGate();

/** Waits for `work`, but no longer than `waitMs`: then `onHung` is called once, and the work goes on alone. Rejects as `work` does. */
export async function untilHung(work: Promise<void>, waitMs: number, onHung: () => void): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const hung = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      onHung();
      resolve();
    }, waitMs);
  });
  try {
    await Promise.race([work, hung]);
  } finally {
    clearTimeout(timer);
  }
}
