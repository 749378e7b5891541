import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:net";
import { freePorts } from "../../scripts/lib/ports.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const CLUSTER_TIMEOUT_MS = 120_000;
/** What --require-healthy promises. */
const ANSWER_MAX_MS = 15_000;
const EXIT_CONFIG = 78;

let own: OwnCluster;
let topic: string;
beforeAll(async () => {
  own = await ownCluster({ security: "sasl_ssl" });
  topic = await own.kafka.createTopic();
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

function login(options: { password?: string; caFile?: string; username?: string } = {}): string {
  return `sasl.enabled = true
sasl.mechanism = "SCRAM-SHA-512"
sasl.username = "${options.username ?? "admin"}"
sasl.password = "${options.password ?? "admin-secret"}"
tls.enabled = true
tls.ca_file = "${options.caFile ?? own.kafka.certificates!.ca}"
`;
}

async function silentServer(): Promise<Server> {
  const server = createServer((socket) => socket.on("error", () => {}));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

interface Wrong {
  readonly bootstrap?: string;
  readonly topic?: string;
  readonly sink?: string;
  /** Brings the cluster into the state of the case, and back. */
  readonly before?: () => void | Promise<void>;
  readonly after?: () => void | Promise<void>;
  readonly reason: RegExp;
}

const cases: Record<string, () => Promise<Wrong>> = {
  "a wrong port": async () => {
    const [port] = await freePorts(1);
    return { bootstrap: `127.0.0.1:${port}`, reason: /nothing listens there/ };
  },
  "a broker that takes connections and never answers": () =>
    Promise.resolve({
      before: () => own.cluster.brokers[0]!.pause(),
      after: () => own.cluster.brokers[0]!.resume(),
      reason: /Cannot connect to broker/,
    }),
  "five addresses that take connections and never answer": async () => {
    const servers = await Promise.all(Array.from({ length: 5 }, silentServer));
    return {
      bootstrap: servers.map((server) => `127.0.0.1:${(server.address() as { port: number }).port}`).join(
        ",",
      ),
      after: () => servers.forEach((server) => server.close()),
      reason: /Cannot connect to/,
    };
  },
  "a wrong password": () =>
    Promise.resolve({
      bootstrap: own.kafka.listeners.SASL_SSL!,
      sink: login({ password: "wrong-pass" }),
      reason: /user "admin"|sasl\.password/,
    }),
  "a wrong CA": () =>
    Promise.resolve({
      bootstrap: own.kafka.listeners.SASL_SSL!,
      sink: login({ caFile: own.kafka.certificates!.otherCa }),
      reason: /not trusted here/,
    }),
  "a topic that is missing, where none is created by itself": () =>
    Promise.resolve({ topic: "not-there", reason: /Cannot find topic \\"not-there\\"/ }),
  "a broker that is down": () =>
    Promise.resolve({
      before: () => own.cluster.brokers[0]!.stop(),
      after: () => own.cluster.startBroker(0),
      reason: /nothing listens there/,
    }),
};

describe("--require-healthy ends with exit code 78 within 15 s and says why, and has shipped nothing", () => {
  for (const [name, make] of Object.entries(cases)) {
    test(name, async () => {
      await using dir = tempDir("healthy");
      const wrong = await make();
      new OracleWriter("healthy", "a.log").append(dir.file("a.log"), 10);
      const config = filesToKafka(dir, {
        bootstrap: wrong.bootstrap ?? own.kafka.bootstrap,
        topic: wrong.topic ?? topic,
        sink: wrong.sink ?? "",
      });
      await wrong.before?.();
      try {
        const startMs = performance.now();
        await using shipper = startShipper({ config, args: ["--require-healthy"] });
        const exit = await shipper.waitForExit(2 * ANSWER_MAX_MS);
        expect(performance.now() - startMs).toBeLessThan(ANSWER_MAX_MS);
        expect(exit).toMatchObject({ code: EXIT_CONFIG, signal: null, stdout: "" });
        expect(exit.stderr).toMatch(wrong.reason);
        expect(exit.stderr).toContain("ending, as --require-healthy asks");
        expect(exit.stderr).toMatch(/"hint":"\S/);
        expect(exit.stderr).not.toContain("wrong-pass");
      } finally {
        await wrong.after?.();
      }
      expect(await own.kafka.countRecords(topic)).toBe(0);
    }, 120_000);
  }
});

test("--require-healthy goes on when all is well", async () => {
  await using dir = tempDir("healthy");
  const mine = await own.kafka.createTopic();
  const writer = new OracleWriter("all-well", "a.log");
  writer.append(dir.file("a.log"), 100);
  const config = filesToKafka(dir, { bootstrap: own.kafka.listeners.SASL_SSL!, topic: mine, sink: login() });
  await using shipper = startShipper({ config, args: ["--require-healthy", "--once"] });
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactly(own.kafka, mine, [writer]);
}, 90_000);

describe("without --require-healthy the run goes on, and delivers as soon as it is put right", () => {
  async function expectDelivery(options: {
    bootstrap: string;
    topic: string;
    sink: string;
    reason: RegExp;
    mend: () => Promise<unknown>;
  }): Promise<void> {
    await using dir = tempDir("mended");
    const writer = new OracleWriter("mended", "a.log");
    writer.append(dir.file("a.log"), 500);
    const config = filesToKafka(dir, {
      bootstrap: options.bootstrap,
      topic: options.topic,
      sink: `${options.sink}\nretry.max_interval_ms = 1000\n`,
    });
    await using shipper = startShipper({ config });
    await shipper.waitForLog(options.reason);
    await shipper.waitForLog(/trying again for as long as it takes/);
    writer.append(dir.file("a.log"), 500);
    expect(shipper.isRunning).toBe(true);
    await options.mend();
    await waitUntil(
      "all is delivered",
      async () => await own.kafka.countRecords(options.topic) === 1_000,
      { timeoutMs: 30_000, pollMs: 50 },
    );
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
    await expectExactly(own.kafka, options.topic, [writer]);
  }

  test("a topic that is created later", async () => {
    const name = `late-${Date.now()}`;
    await expectDelivery({
      bootstrap: own.kafka.bootstrap,
      topic: name,
      sink: "",
      reason: /Cannot find topic/,
      mend: () => own.kafka.createTopic({ name, partitions: 3 }),
    });
  }, 120_000);

  test("a password that is changed at the broker", async () => {
    await own.kafka.setScram("admin", "SCRAM-SHA-512", "old-secret");
    await expectDelivery({
      bootstrap: own.kafka.listeners.SASL_SSL!,
      topic: await own.kafka.createTopic(),
      sink: login(),
      reason: /sasl/i,
      mend: () => own.kafka.setScram("admin", "SCRAM-SHA-512", "admin-secret"),
    });
  }, 120_000);

  test("a CA file that is replaced", async () => {
    await using dir = tempDir("ca");
    const caFile = dir.file("ca.pem");
    const { otherCa, ca } = own.kafka.certificates!;
    await Bun.write(caFile, Bun.file(otherCa));
    await expectDelivery({
      bootstrap: own.kafka.listeners.SASL_SSL!,
      topic: await own.kafka.createTopic(),
      sink: login({ caFile }),
      reason: /not trusted here/,
      mend: () => Bun.write(caFile, Bun.file(ca)),
    });
  }, 120_000);
});
