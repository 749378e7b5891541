import { beforeAll, expect } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { startShipper } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

/** A filesystem of its own: reads are watched by device, as it is mounts that hang. */
const OTHER_DEVICE = "/dev/shm";
const HANG_MS = 6_000;

const isLinux = process.platform === "linux";
const canHang = isLinux && Bun.which("strace") !== null &&
  statSync(OTHER_DEVICE).dev !== statSync(tmpdir()).dev;
const WHY_NOT = isLinux ? "needs strace" : "needs Linux";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/**
 * Runs its arguments (-D: as the child itself, not below strace). Of each thread the `when`-th read of the file takes `hangMs`, as on a
 * mount whose server is away.
 */
function hanging(path: string, when: string, hangMs = HANG_MS): string[] {
  const calls = "pread64,read";
  const inject = `inject=${calls}:delay_enter=${hangMs * 1_000}:when=${when}`;
  return [
    "strace",
    "-D",
    "-f",
    "-qq",
    "--seccomp-bpf",
    "-o",
    "/dev/null",
    "-P",
    path,
    "-e",
    `trace=${calls}`,
    "-e",
    inject,
  ];
}

/** A line of /proc/PID/status. */
function status(pid: number, name: string): string {
  return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]!;
}

const cases = [
  // The first read of a file is that of its head, when it is opened.
  { what: "hangs when it is opened", when: "1", log: /Cannot open .*hang\.log/ },
  { what: "hangs while it is read", when: "2", log: /Reading from device .* does not come back/ },
];

for (const { what, when, log } of cases) {
  testIf(
    canHang,
    WHY_NOT,
    `a file that ${what}: told, the others go on, and it is read when it comes back`,
    async () => {
      await using dir = tempDir("hung");
      const otherDir = mkdtempSync(join(OTHER_DEVICE, "shipper-hung-"));
      try {
        const hangPath = join(otherDir, "hang.log");
        const topic = await kafka.createTopic();
        const hung = new OracleWriter("hung", "hang.log");
        hung.append(hangPath, 100);
        const writers = ["a.log", "b.log"].map((name) => new OracleWriter("hung", name));
        for (const writer of writers) writer.append(dir.file(writer.file), 100);
        const config = filesToKafka(dir, {
          bootstrap: kafka.bootstrap,
          topic,
          include: [hangPath, dir.file("*.log")],
        });
        await using shipper = startShipper({ config, wrapper: hanging(hangPath, when) });
        using load = new SteadyLoad({ ...dir, file: () => hangPath }, [hung], 50);
        const untilOthers = (count: number) =>
          waitUntil(`${count} records of other files`, async () => {
            const records = await kafka.readTopic(topic);
            return records.filter((record) => !String(record.value).includes("hang.log")).length === count;
          });
        await untilOthers(200);
        await shipper.waitForLog(log);
        for (const writer of writers) writer.append(dir.file(writer.file), 100);
        const late = new OracleWriter("hung", "late.log");
        late.append(dir.file("late.log"), 100);
        await untilOthers(500);
        const total = load.stop() + 500;
        await waitUntil(`${total} records`, async () => await kafka.countRecords(topic) === total, {
          timeoutMs: 4 * HANG_MS,
          pollMs: 100,
        });
        shipper.signal("SIGTERM");
        expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
        await expectExactly(kafka, topic, [hung, late, ...writers]);
      } finally {
        rmSync(otherDir, { recursive: true });
      }
    },
    120_000,
  );
}

testIf(canHang, WHY_NOT, "SIGTERM while a read hangs ends in time", async () => {
  await using dir = tempDir("hung-stop");
  const otherDir = mkdtempSync(join(OTHER_DEVICE, "shipper-hung-"));
  try {
    const hangPath = join(otherDir, "hang.log");
    const topic = await kafka.createTopic();
    const hung = new OracleWriter("hung-stop", "hang.log");
    hung.append(hangPath, 100);
    using _load = new SteadyLoad({ ...dir, file: () => hangPath }, [hung], 50);
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, include: [hangPath] });
    await using shipper = startShipper({ config, wrapper: hanging(hangPath, "2+", 60_000) });
    await shipper.waitForLog(/Reading from device .* does not come back/);
    const tracerPid = Number(status(shipper.pid, "TracerPid"));
    shipper.signal("SIGTERM");
    const startMs = performance.now();
    await waitUntil("it has ended", () => status(shipper.pid, "State").startsWith("Z"));
    expect(performance.now() - startMs).toBeLessThan(20_000);
    // strace, which plays the mount, holds what is left of it until the read is over.
    process.kill(tracerPid, "SIGKILL");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
  } finally {
    rmSync(otherDir, { recursive: true });
  }
}, 120_000);
