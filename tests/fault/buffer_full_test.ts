import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  API,
  diskBuffer,
  figureOf,
  finish,
  StdinLives,
  toldLosses,
  waitForBuffered,
} from "../support/disk_buffer.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { checkTopic, expectExactly, filesToKafka, stdinToKafka } from "../support/scenario.ts";
import { type Shipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// The brokers are away until the buffer on disk is full.

const SINK = "batch.max_bytes = 20000\nretry.interval_ms = 20\nretry.max_interval_ms = 200";
/** Several times what the smallest buffer holds. */
const LINES = 40_000;

let kafka: TestKafka;
/** It has the address that the broker advertises: the tests come one after the other. */
let proxy: Proxy;
beforeAll(async () => {
  kafka = await sharedCluster();
  proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
}, 240_000);
afterAll(async () => {
  await proxy.close();
});

function cutOff(): void {
  proxy.setFault({ refuse: true });
  proxy.cut();
}

/** Waits until a figure stands still for a second, and gives it. */
async function waitForStandstill(shipper: Shipper, figure: string): Promise<number> {
  let last = -1;
  let sinceMs = 0;
  await waitUntil(
    `${figure} stands still`,
    async () => {
      const now = await figureOf(shipper, figure);
      if (now !== last) sinceMs = performance.now();
      last = now;
      return now > 0 && performance.now() - sinceMs > 1_000;
    },
    { timeoutMs: 40_000, pollMs: 100 },
  );
  return last;
}

/** All that was read is delivered or dropped. */
async function waitForEmpty(shipper: Shipper, readCount: number): Promise<void> {
  await waitUntil("nothing is left", async () => {
    if (await figureOf(shipper, "shipper_sink_events_in_total") < readCount) return false;
    const buffered = await figureOf(shipper, "shipper_buffer_events");
    return buffered + await figureOf(shipper, "shipper_sink_in_flight_events") === 0;
  }, { timeoutMs: 30_000, pollMs: 100 });
}

describe("block: the source is paused", () => {
  test(
    "files: they are not read any further, over a kill -9, and all arrives when the brokers are back",
    async () => {
      await using dir = tempDir("buffer-block");
      const topic = await kafka.createTopic({ partitions: 3 });
      const writers = ["a.log", "b.log"].map((name) => new OracleWriter("block", name));
      const sink = `${SINK}\n${diskBuffer()}`;
      const config = filesToKafka(dir, { bootstrap: proxy.address, topic, top: API, sink });
      writers[0]!.append(dir.file("a.log"), 100);
      let shipper = startShipper({ config });
      try {
        await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
        cutOff();
        for (const writer of writers) writer.append(dir.file(writer.file), LINES / 2);
        const read = await waitForStandstill(shipper, "shipper_sink_events_in_total");
        expect(read).toBeLessThan(LINES);
        expect(await figureOf(shipper, "shipper_buffer_bytes")).toBeLessThanOrEqual(1_048_576);
        await shipper.kill();
        shipper = startShipper({ config });
        await Bun.sleep(1_000);
        proxy.heal();
        await waitUntil("all is there", async () => await kafka.countRecords(topic) >= LINES + 100, {
          timeoutMs: 30_000,
        });
        shipper.signal("SIGTERM");
        expect(toldLosses(await shipper.waitForExit())).toEqual({ code: 0, droppedCount: 0, lostCount: 0 });
      } finally {
        proxy.heal();
        await shipper.kill();
      }
      await expectExactly(kafka, topic, writers);
    },
    120_000,
  );

  test("stdin: the pipe fills up, and all arrives when the brokers are back", async () => {
    await using dir = tempDir("buffer-block-stdin");
    const topic = await kafka.createTopic({ partitions: 3 });
    const sink = `${SINK}\n${diskBuffer()}`;
    const lives = new StdinLives(dir, "block", { bootstrap: proxy.address, topic, top: API, sink });
    const writer = lives.next();
    await using shipper = startShipper({ config: lives.config, stdin: "pipe" });
    await shipper.writeStdin(writer.lines(100));
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
    cutOff();
    let isWritten = false;
    const writing = (async () => {
      for (let i = 0; i < LINES / 1_000; i++) await shipper.writeStdin(writer.lines(1_000));
      isWritten = true;
    })();
    await waitForStandstill(shipper, "shipper_sink_events_in_total");
    expect(isWritten).toBe(false);
    proxy.heal();
    await writing;
    shipper.endStdin();
    expect(toldLosses(await shipper.waitForExit())).toEqual({ code: 0, droppedCount: 0, lostCount: 0 });
    expect(await lives.check(kafka)).toBe(0);
  }, 120_000);
});

for (const whenFull of ["drop_newest", "drop_oldest"] as const) {
  for (const source of ["files", "stdin"] as const) {
    test(
      `${whenFull}, ${source}: what is counted as dropped is what is missing, over a restart with the brokers away`,
      async () => {
        await using dir = tempDir("buffer-drops");
        const topic = await kafka.createTopic({ partitions: 3 });
        const writers = ["a.log", "b.log"].map((name) => new OracleWriter("drops", name));
        const options = {
          bootstrap: proxy.address,
          topic,
          top: `${API}\nshutdown_timeout_secs = 1`,
          sink: `${SINK}\n${diskBuffer("1MiB", whenFull)}`,
        };
        const config = source === "files" ? filesToKafka(dir, options) : stdinToKafka(dir, options);
        const put = async (shipper: Shipper, writer: OracleWriter, count: number) => {
          if (source === "files") writer.append(dir.file(writer.file), count);
          else await shipper.writeStdin(writer.lines(count));
        };
        let droppedCount = 0;
        try {
          {
            await using first = startShipper({ config, stdin: "pipe" });
            await put(first, writers[0]!, 100);
            await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
            cutOff();
            for (let i = 0; i < 10; i++) for (const writer of writers) await put(first, writer, LINES / 20);
            await waitUntil(
              "all is read",
              async () => await figureOf(first, "shipper_sink_events_in_total") === LINES + 100,
              {
                timeoutMs: 40_000,
              },
            );
            expect(await figureOf(first, "shipper_buffer_bytes")).toBeLessThanOrEqual(1_048_576);
            first.signal("SIGTERM");
            const told = toldLosses(await first.waitForExit());
            expect(told).toMatchObject({ code: 0, lostCount: 0 });
            droppedCount = told.droppedCount;
            expect(droppedCount).toBeGreaterThan(1_000);
          }
          await using second = startShipper({ config, stdin: "pipe" });
          for (let i = 0; i < 5; i++) for (const writer of writers) await put(second, writer, 1_000);
          await Bun.sleep(500);
          proxy.heal();
          await waitForEmpty(second, 10_000);
          second.signal("SIGTERM");
          const told = toldLosses(await second.waitForExit());
          expect(told).toMatchObject({ code: 0, lostCount: 0 });
          droppedCount += told.droppedCount;
        } finally {
          proxy.heal();
        }
        const report = (await checkTopic(kafka, topic, writers)).report();
        expect(report).toMatchObject({
          lostCount: droppedCount,
          duplicatedCount: 0,
          outOfOrderCount: 0,
          foreignCount: 0,
          damagedCount: 0,
        });
      },
      120_000,
    );
  }
}

test("drop_oldest with all of it in flight: drops what comes, and counts it", async () => {
  await using dir = tempDir("buffer-pinned");
  const topic = await kafka.createTopic({ partitions: 3 });
  const writer = new OracleWriter("pinned", "a.log");
  const sink = `${SINK}\n${diskBuffer("1MiB", "drop_oldest")}`;
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic, top: API, sink });
  try {
    await using shipper = startShipper({ config });
    writer.append(dir.file(writer.file), 100);
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
    proxy.setFault({ stall: ["request"] });
    // Little enough that the sink takes all of it before the buffer is full, then more and more.
    for (let i = 0; i < 40; i++) {
      writer.append(dir.file(writer.file), 500);
      await Bun.sleep(30);
    }
    await waitUntil(
      "all is read",
      async () => await figureOf(shipper, "shipper_sink_events_in_total") === writer.count,
      {
        timeoutMs: 40_000,
      },
    );
    proxy.heal();
    await waitForEmpty(shipper, writer.count);
    shipper.signal("SIGTERM");
    const { code, droppedCount } = toldLosses(await shipper.waitForExit());
    const report = (await checkTopic(kafka, topic, [writer])).report();
    expect({ code, ...report }).toMatchObject({
      code: 0,
      lostCount: droppedCount,
      duplicatedCount: 0,
      outOfOrderCount: 0,
    });
    expect(droppedCount).toBeGreaterThan(0);
  } finally {
    proxy.heal();
  }
}, 120_000);

test(
  "two sinks on one source: the one whose brokers are away fills its disk, the other goes on",
  async () => {
    await using dir = tempDir("buffer-two-sinks");
    const [near, far] = [
      await kafka.createTopic({ partitions: 2 }),
      await kafka.createTopic({ partitions: 2 }),
    ];
    const writer = new OracleWriter("two-sinks", "a.log");
    const sinkOf = (name: string, bootstrap: string, topic: string, more: string) =>
      `[sinks.${name}]\ntype = "kafka"\ninputs = ["in"]\nbootstrap_servers = "${bootstrap}"\ntopic = "${topic}"\n${SINK}\n${more}\n`;
    const config = `data_dir = ${JSON.stringify(dir.file("data"))}\n${API}
[sources.in]\ntype = "file"\ninclude = [${JSON.stringify(dir.file("*.log"))}]
${sinkOf("near", kafka.bootstrap, near, "buffer.max_events = 1000")}${
      sinkOf("far", proxy.address, far, diskBuffer())
    }`;
    try {
      await using shipper = startShipper({ config });
      writer.append(dir.file(writer.file), 100);
      await waitUntil(
        "both ship",
        async () => await kafka.countRecords(near) === 100 && await kafka.countRecords(far) === 100,
      );
      cutOff();
      for (let i = 0; i < 10; i++) {
        writer.append(dir.file(writer.file), LINES / 10);
      }
      await waitUntil("the near one has all", async () => await kafka.countRecords(near) === writer.count, {
        timeoutMs: 40_000,
      });
      expect(await kafka.countRecords(far)).toBe(100);
      expect(await figureOf(shipper, "shipper_sink_events_in_total", "far")).toBeLessThan(writer.count);
      await waitForBuffered(shipper, 1_000, "far");
      proxy.heal();
      await waitUntil("the far one has all", async () => await kafka.countRecords(far) === writer.count, {
        timeoutMs: 30_000,
      });
      shipper.signal("SIGTERM");
      expect(toldLosses(await shipper.waitForExit())).toEqual({ code: 0, droppedCount: 0, lostCount: 0 });
    } finally {
      proxy.heal();
    }
    for (const topic of [near, far]) await expectExactly(kafka, topic, [writer]);
    expect(await finish(config)).toMatchObject({ code: 0 });
    for (const topic of [near, far]) await expectExactly(kafka, topic, [writer]);
  },
  120_000,
);
