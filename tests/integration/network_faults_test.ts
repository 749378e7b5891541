import { beforeAll, expect, test } from "bun:test";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const LINES_PER_SECOND = 10_000;
const ROUNDS = 20;
const ROUND_MS = 150;
const SOCKET_TIMEOUT_MS = 1_000;
const CATCH_UP_MS = 30_000;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** Lines flow through a proxy while `hurt` does something to it in each round; all must be there once and in order. */
async function underLoad(run: string, hurt: (proxy: Proxy, round: number) => void): Promise<string> {
  await using dir = tempDir(run);
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((name) => new OracleWriter(run, name));
  const sink = `compression = "lz4"\nretry.max_interval_ms = 200\nsocket_timeout_ms = ${SOCKET_TIMEOUT_MS}
request_timeout_ms = ${SOCKET_TIMEOUT_MS / 2}\nconnect_timeout_ms = ${SOCKET_TIMEOUT_MS}`;
  await using shipper = startShipper({
    config: filesToKafka(dir, { bootstrap: proxy.address, topic, sink }),
  });
  using load = new SteadyLoad(dir, writers, LINES_PER_SECOND);
  await waitUntil("it ships", async () => await kafka.countRecords(topic) > 0);
  for (let round = 0; round < ROUNDS; round++) {
    hurt(proxy, round);
    await Bun.sleep(ROUND_MS);
  }
  proxy.heal();
  const count = load.stop();
  let seen = 0;
  await waitUntil(`${count} records`, async () => (seen = await kafka.countRecords(topic)) >= count, {
    timeoutMs: CATCH_UP_MS,
    pollMs: 50,
  }).catch((error: Error) => {
    throw new Error(`${error.message}; there are ${seen}\n${shipper.stderr.slice(-3_000)}`);
  });
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  expect(exit).toMatchObject({ code: 0, signal: null });
  await expectExactly(kafka, topic, writers);
  return exit.stderr;
}

test("connections that are reset again and again: none lost, none twice, in order", async () => {
  await underLoad("reset", (proxy) => proxy.cut());
}, 120_000);

test("connections that are cut in the middle of a request: none lost, none twice, in order", async () => {
  await underLoad("cut-request", (proxy, round) => {
    proxy.setFault({ cutAfter: { direction: "request", bytes: 1 + round * 7_919 % 60_000 } });
  });
}, 120_000);

test("answers that are cut off after the broker has written: none lost, none twice, in order", async () => {
  await underLoad("cut-answer", (proxy, round) => {
    proxy.setFault({ cutAfter: { direction: "response", bytes: 1 + round * 31 % 200 } });
  });
}, 120_000);

test("answers that never come although the broker has written: none lost, none twice, in order", async () => {
  await underLoad("swallowed", (proxy, round) => {
    // What came before is lost on the way as well: the connection is no good afterwards.
    if (round % 10 === 0) proxy.setFault({ swallow: ["response"] });
    if (round % 10 === 8) proxy.heal();
  });
}, 120_000);

test(
  "requests with a flipped bit are refused by their checksum and sent again: none lost, none twice, in order",
  async () => {
    // A bit in the frame's header or in a name makes another request of it, or garbage; one in the records has to be noticed by the broker.
    const log = await underLoad("corrupt", (proxy, round) => {
      if (round % 4 === 0) proxy.setFault({ corrupt: { direction: "request", at: 2_000 + round * 1_009 } });
      if (round % 4 === 2) proxy.cut();
    });
    expect(log).toContain("CORRUPT_MESSAGE");
    expect(log).not.toContain("dropped and counted");
  },
  120_000,
);

test("answers with a flipped bit never end it: none lost, in order", async () => {
  await underLoad("corrupt-answer", (proxy, round) => {
    if (round % 4 === 0) proxy.setFault({ corrupt: { direction: "response", at: round % 3 } });
    if (round % 4 === 2) proxy.cut();
  });
}, 120_000);
