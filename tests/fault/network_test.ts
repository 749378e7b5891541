import { beforeAll, expect, test } from "bun:test";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { type Proxy, type ProxyFault, startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { type Random, seededRandom } from "../support/seed.ts";
import { startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// tests/integration/network_faults_test.ts hurts the connections of one process. Here it is killed now and then as well, in the middle of it.

const LINES_PER_SECOND = 6_000;
const ROUNDS = 24;
const ROUND_MS_MIN = 30;
const ROUND_MS_MAX = 250;
/** One run in so many rounds. */
const ROUNDS_OF_A_RUN = 6;
const SOCKET_TIMEOUT_MS = 800;
const CATCH_UP_MS = 30_000;
const SINK = `batch.max_bytes = 30000\nretry.interval_ms = 20\nretry.max_interval_ms = 200
connect_timeout_ms = ${SOCKET_TIMEOUT_MS}\nsocket_timeout_ms = ${SOCKET_TIMEOUT_MS}
request_timeout_ms = ${SOCKET_TIMEOUT_MS / 2}`;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** Lines flow through a proxy that is hurt in each round, and runs are killed and followed by others. All must be there once and in order. */
async function underLoad(
  name: string,
  hurt: (proxy: Proxy, random: Random, round: number) => void,
): Promise<void> {
  await using dir = tempDir("network");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const random = seededRandom(name);
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((file) => new OracleWriter("network", file));
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink: SINK });
  using load = new SteadyLoad(dir, writers, LINES_PER_SECOND);
  let shipper = startShipper({ config });
  try {
    await waitUntil("it ships", async () => await kafka.countRecords(topic) > 0);
    for (let round = 1; round <= ROUNDS; round++) {
      hurt(proxy, random, round);
      await Bun.sleep(random.between(ROUND_MS_MIN, ROUND_MS_MAX));
      if (round % ROUNDS_OF_A_RUN !== 0) continue;
      await shipper.kill();
      shipper = startShipper({ config });
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
    expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
  } finally {
    await shipper.kill();
  }
  await expectExactly(kafka, topic, writers);
}

function cutAfter(random: Random, direction: "request" | "response", bytesMax: number): ProxyFault {
  return { cutAfter: { direction, bytes: random.between(1, bytesMax), everyNth: random.between(1, 3) } };
}

test("every k-th connection cut after n bytes, with kill -9: exact", async () => {
  await underLoad("cut connections", (proxy, random) => {
    proxy.setFault(
      random.next() < 0.5 ? cutAfter(random, "request", 80_000) : cutAfter(random, "response", 300),
    );
  });
}, 120_000);

test("answers cut off after the broker has written, with kill -9: exact", async () => {
  await underLoad("cut answers", (proxy, random) => proxy.setFault(cutAfter(random, "response", 100)));
}, 120_000);

test("answers that never come, with kill -9: exact", async () => {
  await underLoad("swallowed answers", (proxy, random) => {
    if (random.next() < 0.3) proxy.setFault({ swallow: ["response"] });
    else if (random.next() < 0.5) proxy.heal();
  });
}, 120_000);

test("connections that stall, and a peer that accepts and never answers, with kill -9: exact", async () => {
  await underLoad("stalled connections", (proxy, random, round) => {
    // From the third run on some begin while nothing is answered at all.
    const stalls: ProxyFault[] = [
      { stall: ["request"] },
      { stall: ["response"] },
      { stall: ["request", "response"] },
    ];
    if (round % 4 === 1) proxy.setFault(random.pick(stalls));
    if (round % 4 === 0) proxy.heal();
  });
}, 120_000);

test("a black hole: what goes in is never seen again and nobody is told, with kill -9: exact", async () => {
  await underLoad("black hole", (proxy, random, round) => {
    if (round % 5 === 1) proxy.setFault({ swallow: ["request", "response"] });
    // What went into it is gone, so that connections of before are no good: they end by their timeout, or now.
    if (round % 5 === 0) {
      proxy.heal();
      if (random.next() < 0.5) proxy.cut();
    }
  });
}, 120_000);
