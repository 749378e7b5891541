import { afterAll, beforeAll, expect, test } from "bun:test";
import { API, diskBuffer, droppedBy, figureOf } from "../support/disk_buffer.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { checkTopic, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// The brokers are away for longer than events may wait.

const TIMEOUT_MS = 1_500;
const OUTAGE_MS = 4_500;
const SINK =
  `message_timeout_ms = ${TIMEOUT_MS}\nretry.interval_ms = 20\nretry.max_interval_ms = 200\nsocket_timeout_ms = 1000
connect_timeout_ms = 500`;

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

const WAYS: Readonly<Record<string, string>> = {
  "exactly once": "",
  "exactly once, with a disk buffer": diskBuffer("64MiB"),
  "at least once": 'delivery = "at_least_once"',
  "in transactions": 'delivery = "transactional"\ntransaction_timeout_ms = 5000',
};

for (const [way, more] of Object.entries(WAYS)) {
  test(
    `an outage that is longer than message_timeout_ms, ${way}: what is missing was dropped and counted`,
    async () => {
      await using dir = tempDir("message-timeout");
      const topic = await kafka.createTopic({ partitions: 3 });
      const isTransactional = more.includes("transactional");
      const writers = ["a.log", "b.log"].map((name) => new OracleWriter("timeout", name));
      const own = isTransactional
        ? `transactional_id = "${topic}"\nposition_topic = "${topic}-positions"\n`
        : "";
      const config = filesToKafka(dir, {
        bootstrap: proxy.address,
        topic,
        top: API,
        sink: `${SINK}\n${own}${more}`,
      });
      const isolation = isTransactional ? "read_committed" : "read_uncommitted";
      const reportOf = async () => (await checkTopic(kafka, topic, writers, isolation)).report();
      await using shipper = startShipper({ config });
      using load = new SteadyLoad(dir, writers, 2_000);
      await waitUntil("it ships", async () => await kafka.countRecords(topic) > 1_000, {
        timeoutMs: 40_000,
        pollMs: 50,
      });
      proxy.setFault({ refuse: true });
      proxy.cut();
      await Bun.sleep(OUTAGE_MS);
      proxy.heal();
      const before = await kafka.countRecords(topic);
      await waitUntil("it goes on", async () => await kafka.countRecords(topic) > before + 1_000, {
        timeoutMs: 40_000,
        pollMs: 50,
      });
      const written = load.stop();
      await waitUntil("nothing waits", async () => {
        if (await figureOf(shipper, "shipper_sink_events_in_total") < written) return false;
        const buffered = await figureOf(shipper, "shipper_buffer_events");
        return buffered + await figureOf(shipper, "shipper_sink_in_flight_events") === 0;
      }, { timeoutMs: 40_000, pollMs: 100 });
      const dropped = await droppedBy(shipper, "message_timeout");
      expect(await figureOf(shipper, "shipper_sink_delivered_events_total")).toBe(written - dropped);
      // About what came during the outage, but for its last 1.5 s.
      expect(dropped).toBeGreaterThan(1_000);
      shipper.signal("SIGTERM");
      const exit = await shipper.waitForExit();
      expect(exit).toMatchObject({ code: 0, signal: null });
      expect(exit.stderr).toContain(`within message_timeout_ms = ${TIMEOUT_MS}: dropped and counted`);
      expect(exit.stderr.split("\n").length).toBeLessThan(100);
      const report = await reportOf();
      expect(report).toMatchObject({
        lostCount: dropped,
        duplicatedCount: 0,
        foreignCount: 0,
        damagedCount: 0,
      });
      if (!isTransactional) {
        await Bun.write(dir.file("config.toml"), config);
        const audit = await runShipper({ args: ["audit", "--json", "--config", dir.file("config.toml")] });
        expect(audit).toMatchObject({ code: 0 });
        expect(audit.stdout).toContain('"message_timeout"');
      }
      // The position has passed what was dropped.
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      expect(await reportOf()).toEqual(report);
    },
    180_000,
  );
}
