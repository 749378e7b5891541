import { afterEach, expect, spyOn, test } from "bun:test";
import type { BrokerConnection } from "../../src/kafka/broker_connection.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { WireWriter } from "../../src/kafka/protocol/wire.ts";
import { type ConnectOverrides, connectTo } from "../kafka/support.ts";
import { FakeBroker } from "../support/fake_broker.ts";

// A broker that asked to wait for longer than socket_timeout_ms was taken for dead: the connection was closed, what waited was in doubt, and the new
// connection did not wait. How long to wait, and how long an answer had taken, went by the wall clock: one that was set ahead ended every connection with
// a request on its way, one that was set back kept requests for as long. A session could not be renewed while the broker asked to wait.

const HOUR_MS = 3_600_000;
let cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
  cleanUps = [];
});

async function start(overrides: ConnectOverrides = {}, delayMs = 0) {
  const broker = await FakeBroker.start();
  cleanUps.push(() => broker.stop());
  broker.on(ApiKey.DescribeProducers, ({ body }) => ({ body: Buffer.from(body), delayMs }));
  broker.on(ApiKey.SaslHandshake, () => ({ body: handshake() }));
  broker.on(ApiKey.SaslAuthenticate, () => ({ body: authenticated() }));
  const connection = await connectTo(broker.port, overrides);
  cleanUps.push(() => connection.close());
  return { broker, connection };
}

async function ask(connection: BrokerConnection, text: string, timeoutMs = 5_000): Promise<string> {
  const answer = await connection.request(ApiKey.DescribeProducers, 0, [Buffer.from(text)], { timeoutMs });
  return answer.toString();
}

function setClock(byMs: number): void {
  const real = Date.now;
  const spy = spyOn(Date, "now").mockImplementation(() => real() + byMs);
  cleanUps.push(() => spy.mockRestore());
}

const SESSION_MS = 3_000;

function handshake(): Buffer {
  return Buffer.from(new WireWriter(false).int16(0).arrayLength(1).string("PLAIN").slice());
}

function authenticated(): Buffer {
  return Buffer.from(new WireWriter(false).int16(0).string(null).bytesLength(0).int64(SESSION_MS).slice());
}

test("a broker that asks to wait for longer than socket_timeout_ms is waited for", async () => {
  const { broker, connection } = await start({ socketTimeoutMs: 1_000 });
  connection.throttle(3_000);
  const untilMs = performance.now() + 2_990;
  const answers = [ask(connection, "a"), ask(connection, "b")];
  // Another answer that asks for nothing.
  connection.throttle(0);
  expect(connection.throttledUntilMs).toBeGreaterThan(untilMs);
  expect(await Promise.all(answers)).toEqual(["a", "b"]);
  expect(performance.now()).toBeGreaterThanOrEqual(untilMs);
  expect(broker.connectionsCount).toBe(1);
}, 20_000);

test("what is sent after the wait has its timeouts", async () => {
  const { broker, connection } = await start({ socketTimeoutMs: 1_000 });
  broker.on(ApiKey.DescribeProducers, () => "silence");
  connection.throttle(300);
  await expect(ask(connection, "a")).rejects.toMatchObject({ code: "timeout" });
  const other = await connectTo(broker.port, { socketTimeoutMs: 60_000 });
  other.throttle(300);
  await expect(ask(other, "a", 100)).rejects.toMatchObject({ code: "timeout" });
}, 20_000);

test("a wall clock that is set back does not make the wait longer", async () => {
  const { connection } = await start({ socketTimeoutMs: 60_000 });
  connection.throttle(100);
  const answer = ask(connection, "a");
  setClock(-HOUR_MS);
  expect(await answer).toBe("a");
}, 20_000);

test("a wall clock that is set ahead is no time that an answer took", async () => {
  const { connection } = await start({}, 1_500);
  const answer = ask(connection, "a", 10_000);
  setClock(HOUR_MS);
  expect(await answer).toBe("a");
  expect(connection.isOpen).toBe(true);
}, 20_000);

test("a session is renewed when the broker asks to wait for longer than connecting may take", async () => {
  const login = { mechanism: "PLAIN", username: "user", password: "secret" } as const;
  const { broker, connection } = await start({ login, connectTimeoutMs: 3_000 });
  connection.throttle(SESSION_MS + 4_500);
  // From four fifths of a session on it is renewed.
  await Bun.sleep(SESSION_MS * 0.82);
  expect(await ask(connection, "a")).toBe("a");
  expect(broker.countOf(ApiKey.SaslAuthenticate)).toBe(2);
}, 20_000);
