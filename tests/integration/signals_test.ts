import { beforeAll, describe, expect, test } from "bun:test";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectAtLeastOnce, expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const STOPS = 6;
const LINES_PER_SECOND = 20_000;
const SIGNALS = [["SIGTERM", 143], ["SIGINT", 130]] as const;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

for (const [signal] of SIGNALS) {
  test(
    `${signal} under load, six times: exit code 0, and after each restart it goes on: none lost, none twice`,
    async () => {
      await using dir = tempDir("stop");
      const topic = await kafka.createTopic();
      const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter(`stop-${signal}`, name));
      for (const writer of writers) writer.append(dir.file(writer.file), 10_000);
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: `compression = "lz4"` });
      using load = new SteadyLoad(dir, writers, LINES_PER_SECOND);
      for (let round = 0; round < STOPS; round++) {
        await using shipper = startShipper({ config });
        await shipper.waitForLog(/Started shipper/);
        // From "before the first batch" to "in the middle of it".
        await Bun.sleep(round * 60);
        const startMs = performance.now();
        shipper.signal(signal);
        const exit = await shipper.waitForExit();
        expect(exit).toMatchObject({ code: 0, signal: null });
        expect(performance.now() - startMs).toBeLessThan(20_000);
      }
      load.stop();
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, writers);
    },
    120_000,
  );
}

describe("a second signal while the broker does not answer ends at once, and nothing is lost", () => {
  for (const [signal, code] of SIGNALS) {
    test(`${signal}: exit code ${code}`, async () => {
      await using dir = tempDir("second");
      await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
      const topic = await kafka.createTopic();
      const writer = new OracleWriter(`second-${signal}`, "a.log");
      writer.append(dir.file("a.log"), 100);
      const config = filesToKafka(dir, {
        bootstrap: proxy.address,
        topic,
        top: "shutdown_timeout_secs = 60",
      });
      {
        await using shipper = startShipper({ config });
        await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
        proxy.setFault({ stall: ["request"] });
        writer.append(dir.file("a.log"), 20_000);
        await Bun.sleep(300);
        shipper.signal(signal);
        await shipper.waitForLog(new RegExp(`Stopping on ${signal}`));
        await Bun.sleep(200);
        expect(shipper.isRunning).toBe(true);
        const startMs = performance.now();
        shipper.signal(signal);
        expect(await shipper.waitForExit()).toMatchObject({ code, signal: null });
        expect(performance.now() - startMs).toBeLessThan(10_000);
      }
      proxy.heal();
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      await expectAtLeastOnce(kafka, topic, [writer]);
    }, 90_000);
  }
});

test("SIGTERM with a slow broker waits for what was read, within shutdown_timeout_secs", async () => {
  await using dir = tempDir("drain");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("drain", "a.log");
  writer.append(dir.file("a.log"), 100);
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic });
  await using shipper = startShipper({ config });
  await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
  proxy.setFault({ delayMs: 300 });
  writer.append(dir.file("a.log"), 20_000);
  await Bun.sleep(200);
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  expect(exit).toMatchObject({ code: 0, signal: null });
  expect(exit.stderr).not.toMatch(/"level":"(warn|error)"/);
  proxy.heal();
  expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 90_000);

test(
  "a signal before the broker was ever reached ends in time with exit code 0, and the next run ships all",
  async () => {
    await using dir = tempDir("early");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("early", "a.log");
    writer.append(dir.file("a.log"), 1_000);
    const config = filesToKafka(dir, { bootstrap: proxy.address, topic, top: "shutdown_timeout_secs = 1" });
    proxy.setFault({ stall: ["response"] });
    {
      await using shipper = startShipper({ config });
      await shipper.waitForLog(/Started shipper/);
      shipper.signal("SIGTERM");
      expect(await shipper.waitForExit(20_000)).toMatchObject({ code: 0, signal: null });
    }
    proxy.heal();
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, [writer]);
  },
  90_000,
);
