// While a device hung and files of it were queued, every second a worker was started in place of the one before, which waited for ever:
// one promise leaked a second, and the stop took a second longer. And a file that could not be looked at after it was opened again
// kept its descriptor open.
import { expect, test } from "bun:test";
import { DeviceGate } from "../../src/source/device_gate.ts";
import { systemFileOps } from "../../src/source/file_ops.ts";
import type { FileTailer } from "../../src/source/file_tailer.ts";
import { OpenFile, OpenFiles } from "../../src/source/open_files.ts";
import { ReadScheduler } from "../../src/source/read_scheduler.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { FakeOutlet } from "../source/fake_outlet.ts";
import { MemoryLog } from "../source/harness.ts";

test("a hung device costs one more worker, however long it hangs, and none of them holds the stop", async () => {
  let nowMs = 0;
  const gate = new DeviceGate(() => nowMs);
  const scheduler = new ReadScheduler({
    outlets: [new FakeOutlet("out", null)],
    gate,
    monotonicMs: () => nowMs,
    log: new MemoryLog(),
    source: "app",
  });
  const device = Promise.withResolvers<void>();
  const tailer = (): FileTailer =>
    ({
      outletIndex: 0,
      lastEndMs: -Infinity,
      file: { device: "8:1" },
      async turn(_signal: AbortSignal, onDevice: (device: string | null) => void) {
        onDevice("8:1");
        await gate.acquire("8:1");
        await device.promise;
        gate.release("8:1");
        onDevice(null);
      },
    }) as unknown as FileTailer;
  const stopping = new AbortController();
  const running = scheduler.run(stopping.signal);
  scheduler.enqueue(tailer());
  scheduler.enqueue(tailer());
  await Bun.sleep(0);
  for (let i = 0; i < 5; i++) {
    nowMs += 2_000;
    scheduler.tick();
    await Bun.sleep(0);
  }
  expect(scheduler.workerCount).toBe(2);
  device.resolve();
  await Bun.sleep(0);
  scheduler.tick();
  await Bun.sleep(0);
  expect(scheduler.workerCount).toBe(1);
  stopping.abort();
  await running;
  expect(scheduler.workerCount).toBe(0);
});

test("a file that cannot be looked at after it was opened again is closed", async () => {
  const closed: number[] = [];
  const ops: typeof systemFileOps = {
    ...systemFileOps,
    open: () => Promise.resolve(77),
    fstat: () => Promise.reject(Object.assign(new Error("stale"), { code: "ESTALE" })),
    close: (fd) => void closed.push(fd),
  };
  const files = new OpenFiles(ops, 10, new SourceMetrics());
  const file = new OpenFile(5, "1:2:3", "/log");
  file.fd = null;
  await expect(files.acquire(file)).rejects.toThrow("stale");
  await Bun.sleep(0);
  expect(closed).toEqual([77]);
  expect(file.busyCount).toBe(0);
});
