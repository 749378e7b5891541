import { beforeAll, expect, test } from "bun:test";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

test("figures are logged every interval, and small socket buffers ship all the same", async () => {
  await using dir = tempDir("figures");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("figures", "a.log");
  const sink = `metrics_interval_secs = 2
send_buffer_bytes = 8000
receive_buffer_bytes = 8000
dns_lookup = "resolve_canonical_bootstrap_servers_only"
connect_timeout_max_ms = 20000`;
  writer.append(dir.file(writer.file), 2_000);
  await using shipper = startShipper({
    config: filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink }),
  });
  const [line] = await shipper.waitForLog(/\{.*Sink \\"out\\": .*\}/u);
  const { message, ...fields } = JSON.parse(line!);
  expect(message).toMatch(
    /^Sink "out": 2000 events delivered \(\d+\.\d a second\), 0 in the buffer, 0 in flight/u,
  );
  expect(fields).toMatchObject({
    level: "info",
    sink: "out",
    delivered_events: 2_000,
    dropped_events: 0,
    lost_events: 0,
  });
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
  await expectExactly(kafka, topic, [writer]);
}, 90_000);
