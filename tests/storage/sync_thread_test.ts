import { expect, test } from "bun:test";
import fs from "node:fs";
import { readLog } from "../../src/storage/log_reader.ts";
import { SegmentedLog } from "../../src/storage/segmented_log.ts";
import { systemOps } from "../../src/storage/storage_ops.ts";
import { SyncThread } from "../../src/storage/sync_thread.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";
import { EventWriter, logOptions, readEvents } from "./support.ts";

function threadLog(dir: string, events: EventWriter, writer: SyncThread, problems: (string | null)[] = []) {
  const found = readLog(dir, "journal", () => {});
  const onProblem = (cause: string | null) => void problems.push(cause);
  return SegmentedLog.open({ ...logOptions(systemOps, events, { writer, onProblem }), dir }, found);
}

test("A log is written and synced by the thread, in files for this user only", async () => {
  using dir = tempDir("log");
  const path = dir.file("journal");
  const events = new EventWriter();
  const log = await threadLog(path, events, new SyncThread());
  for (let i = 0; i < 200; i++) {
    events.append(log, 3);
    // Some wait for each other, some share a group.
    if (i % 3 === 0) await log.commit();
    else void log.commit();
  }
  await log.commit();
  expect(readEvents(systemOps, "journal", path).next).toBe(600);
  expect(fs.statSync(path).mode & 0o777).toBe(0o700);
  for (const name of fs.readdirSync(path)) expect(fs.statSync(`${path}/${name}`).mode & 0o777).toBe(0o600);
  expect(await log.close(5_000)).toBe(true);
  expect(readEvents(systemOps, "journal", path)).toMatchObject({ next: 600, found: { isCleanStop: true } });
});

test("A job that fails rejects with the system's error name", async () => {
  const thread = new SyncThread();
  const job = { kind: "recycle", dir: "/there/is/no/such/folder", name: "x", freeName: null } as const;
  await expect(thread.run(job)).rejects.toMatchObject({ code: "ENOENT" });
  thread.close(false);
  await expect(thread.run(job)).rejects.toThrow("The storage thread was closed");
});

test("When the thread is lost the commit goes to a new segment by a new thread, and nothing is lost", async () => {
  using dir = tempDir("log");
  // Ends without an answer at the third group that it is given, as a thread that crashes does.
  const worker = dir.file("worker.ts");
  const real = new URL("../../src/storage/storage_jobs.ts", import.meta.url).pathname;
  const ops = new URL("../../src/storage/storage_ops.ts", import.meta.url).pathname;
  fs.writeFileSync(
    worker,
    `import { runJob } from "${real}"; import { systemOps } from "${ops}";
     let groups = 0;
     self.onmessage = ({ data: { id, job } }) => {
       if (job.kind === "group" && job.length > 0 && ++groups === 3) process.exit(1);
       try { self.postMessage({ id, value: runJob(systemOps, job), error: null }); }
       catch (e) { self.postMessage({ id, value: 0, error: { code: e.code, message: String(e) } }); }
     };`,
  );
  const events = new EventWriter();
  const problems: (string | null)[] = [];
  const log = await threadLog(dir.file("journal"), events, new SyncThread(worker), problems);
  for (let i = 0; i < 7; i++) {
    events.append(log);
    await log.commit();
  }
  expect(problems[0]).toContain("The storage thread was lost");
  expect(problems[1]).toBeNull();
  expect(log.currentSegment).toBeGreaterThan(2);
  expect(readEvents(systemOps, "journal", dir.file("journal")).next).toBe(7);
  expect(await log.close(5_000)).toBe(true);
});

test("A thread that cannot be started is a failed commit, not a crash", async () => {
  using dir = tempDir("log");
  const opening = threadLog(dir.file("journal"), new EventWriter(), new SyncThread(dir.file("missing.ts")));
  await expect(opening).rejects.toThrow("The storage thread was lost");
});

test("An idle thread does not keep the process running, and a commit under way does", async () => {
  using dir = tempDir("log");
  const source = (name: string) => new URL(`../../src/storage/${name}.ts`, import.meta.url).pathname;
  const program = dir.file("program.ts");
  fs.writeFileSync(
    program,
    `import { readLog } from "${source("log_reader")}"; import { SegmentedLog } from "${
      source("segmented_log")
    }";
     const dir = process.argv[2];
     const quiet = { debug() {}, info() {}, warn() {}, error() {} };
     const log = await SegmentedLog.open({ dir, kind: "journal", segmentBytes: 1048576, durability: "machine",
       log: quiet, checkpoint: () => {}, onProblem() {} }, readLog(dir, "journal", () => {}));
     log.append(1, Buffer.from("last words"));
     log.commit().then(() => console.log("committed"));`,
  );
  const child = Bun.spawn([process.execPath, program, dir.file("journal")], { stdout: "pipe" });
  let isOver = false;
  void child.exited.then(() => isOver = true);
  try {
    await waitUntil("the child ends by itself", () => isOver);
  } finally {
    child.kill(9);
  }
  expect(child.exitCode).toBe(0);
  expect(await new Response(child.stdout).text()).toBe("committed\n");
});
