import type { FileFault, FileFaults } from "./test_knobs.ts";

/** Counts calls of file operations, and fails those that a fault names: for layers in front of the system's calls, in a test build. */
export class FaultInjector {
  readonly #faults: FileFaults;
  readonly #counts: number[];

  constructor(faults: FileFaults) {
    this.#faults = faults;
    this.#counts = faults.map(() => 0);
  }

  /** Throws when this call of `op` for `path` is to fail. */
  call(op: FileFault["op"], path: string): void {
    let code: string | null = null;
    this.#faults.forEach((fault, index) => {
      if (fault.op !== op || !fault.path.test(path)) return;
      const count = ++this.#counts[index]!;
      if (count >= fault.from && count < fault.from + fault.count) code ??= fault.error;
    });
    if (code !== null) {
      throw Object.assign(new Error(`${code}: a fault of the test, ${op} "${path}"`), { code });
    }
  }
}
