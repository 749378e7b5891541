import { beforeAll, expect, test } from "bun:test";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { ask, reload } from "../support/reloading.ts";
import { expectExactly, stdinToKafka } from "../support/scenario.ts";
import { startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// The bytes of a pipe are nowhere else: its reader stays while sinks change.

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

const API = 'api.address = "127.0.0.1:0"';
const IMPATIENT = "retry.interval_ms = 20\nretry.max_interval_ms = 200\nbatch.max_bytes = 20000";

test("a pipe on stdin: sinks change, come and go, and no byte of it is lost", async () => {
  await using dir = tempDir("reload-stdin");
  const [topic, other] = [
    await kafka.createTopic({ partitions: 1 }),
    await kafka.createTopic({ partitions: 1 }),
  ];
  const writer = new OracleWriter("stdin", "in");
  const configOf = (more: string, hasOther: boolean) =>
    stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, top: API, sink: `${IMPATIENT}\n${more}` }) +
    (hasOther
      ? `[sinks.other]\ntype = "kafka"\ninputs = ["in"]\nbootstrap_servers = "${kafka.bootstrap}"\ntopic = "${other}"\n`
      : "");
  await using shipper = startShipper({ config: configOf("", false), stdin: "pipe" });
  await shipper.waitForLog(/Started shipper/);
  let isOver = false;
  const writing = (async () => {
    let rest = "";
    while (!isOver) {
      // A line that is not complete is in front of most reloads.
      const text = rest + writer.lines(40);
      const cut = text.length - Math.floor(text.length / 80);
      rest = text.slice(cut);
      await shipper.writeStdin(text.slice(0, cut));
      await Bun.sleep(5);
    }
    await shipper.writeStdin(rest);
  })();
  for (let round = 0; round < 8; round++) {
    await Bun.sleep(100);
    const onDisk = round % 4 === 3 ? 'buffer.type = "disk"\nbuffer.max_size = "16MiB"' : "";
    await reload(shipper, configOf(`batch.max_events = ${100 + round}\n${onDisk}`, round % 3 === 1));
  }
  isOver = true;
  await writing;
  shipper.endStdin();
  const exit = await shipper.waitForExit();
  expect(exit).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
  // What it got are whole lines, none twice.
  const records = await kafka.readTopic(other);
  expect(records.length).toBeGreaterThan(0);
  const lines = new Set(records.map(({ value }) => String(value)));
  expect(lines.size).toBe(records.length);
  for (const line of lines) expect(line).toMatch(/^stdin in \d+ [0-9a-f]{8} /);
}, 120_000);

test("lines of a pipe that are in memory alone hold a change up, and the change is refused", async () => {
  await using dir = tempDir("reload-refused");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic({ partitions: 1 });
  const writer = new OracleWriter("refused", "in");
  const top = `${API}\nshutdown_timeout_secs = 0.5`;
  const configOf = (more: string) =>
    stdinToKafka(dir, { bootstrap: proxy.address, topic, top, sink: `${IMPATIENT}\n${more}` });
  await using shipper = startShipper({ config: configOf(""), stdin: "pipe" });
  await shipper.waitForLog(/Started shipper/);
  proxy.setFault({ refuse: true });
  proxy.cut();
  await shipper.writeStdin(writer.lines(500));
  await waitUntil(
    "they are read",
    async () => /in_total\{source="in"\} 500/.test(await ask(shipper, "/metrics")),
  );
  await reload(shipper, configOf("batch.max_events = 7"));
  expect(JSON.parse(await ask(shipper, "/health"))).toMatchObject({
    status: "ok",
    configuration: { state: "rejected", last_reload: { result: "refused" } },
  });
  expect(shipper.stderr).toContain("500 events are in its memory alone");
  proxy.heal();
  await shipper.writeStdin(writer.lines(500));
  await waitUntil(
    "they are delivered",
    async () => /delivered_events_total\{sink="out"\} 1000/.test(await ask(shipper, "/metrics")),
  );
  await reload(shipper, configOf("batch.max_events = 7"));
  expect(await ask(shipper, "/health")).toContain('"state":"current"');
  await shipper.writeStdin(writer.lines(500));
  shipper.endStdin();
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 120_000);
