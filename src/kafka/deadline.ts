import { KafkaError } from "./errors.ts";

/** Rejects with "timeout" or "aborted" when `work` has not settled by then. `work` is left to itself. */
export function withDeadline<T>(
  work: Promise<T>,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => fail("timeout"), timeoutMs);
    const onAbort = () => fail("aborted");
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    const fail = (code: string) => {
      done();
      reject(new KafkaError(code, code === "timeout" ? `Nothing within ${timeoutMs} ms` : "Given up"));
    };
    if (signal?.aborted === true) {
      work.catch(() => {});
      return onAbort();
    }
    signal?.addEventListener("abort", onAbort);
    work.then((value) => {
      done();
      resolve(value);
    }, (error: unknown) => {
      done();
      reject(error as Error);
    });
  });
}
