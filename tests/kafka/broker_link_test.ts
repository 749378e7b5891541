import { expect, test } from "bun:test";
import { BrokerLink, type BrokerTarget, connectTimeoutAfter } from "../../src/kafka/broker_link.ts";
import { openBrokerConnection } from "../../src/kafka/dial.ts";
import { KafkaError } from "../../src/kafka/errors.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { FakeBroker } from "../support/fake_broker.ts";
import { connectTo, silentLog } from "./support.ts";

const TIMES = { connectTimeoutMs: 1_000, connectTimeoutMaxMs: 5_000 };

test("the time for an attempt doubles with each that failed, unevenly by a fifth, up to the maximum", () => {
  expect(connectTimeoutAfter(0, TIMES, 0)).toBe(1_000);
  expect([0, 0.5, 0.999].map((random) => connectTimeoutAfter(1, TIMES, random))).toEqual([
    1_600,
    2_000,
    2_399,
  ]);
  expect(connectTimeoutAfter(2, TIMES, 0.5)).toBe(4_000);
  expect(connectTimeoutAfter(2, TIMES, 0.999)).toBe(4_798);
  expect(connectTimeoutAfter(3, TIMES, 0)).toBe(5_000);
  expect(connectTimeoutAfter(1_000_000, TIMES, 0.5)).toBe(5_000);
  expect(connectTimeoutAfter(4, { connectTimeoutMs: 700, connectTimeoutMaxMs: 700 }, 0)).toBe(700);
});

test("a link gives each attempt its time, and begins anew once a connection was there", async () => {
  const broker = await FakeBroker.start();
  const times: number[] = [];
  let failures = 3;
  const link = new BrokerLink({
    host: "127.0.0.1",
    port: broker.port,
    retryIntervalMs: 1,
    retryMaxIntervalMs: 1,
    connectTimeoutMs: 100,
    connectTimeoutMaxMs: 1_000,
    random: () => 0.5,
    open: (target: BrokerTarget, signal) => {
      times.push(target.connectTimeoutMs);
      if (failures-- > 0) return Promise.reject(new KafkaError("timeout", "Nothing"));
      return openBrokerConnection({
        ...target,
        clientId: "test",
        tls: null,
        login: null,
        socketTimeoutMs: 1_000,
        log: silentLog,
        signal,
      });
    },
  });
  try {
    for (let i = 0; i < 3; i++) await link.connect().catch(() => {});
    const connection = await link.connect();
    expect(times).toEqual([100, 200, 400, 800]);
    connection.close();
    failures = 1;
    await link.connect().catch(() => {});
    await (await link.connect()).broker;
    expect(times.slice(4)).toEqual([100, 200]);
  } finally {
    link.close();
    await broker.stop();
  }
});

test("an attempt that is given more time says so when it fails", async () => {
  const broker = await FakeBroker.start();
  broker.on(ApiKey.ApiVersions, () => "silence");
  const error = await connectTo(broker.port, { connectTimeoutMs: 60 }).catch((each: unknown) =>
    each as KafkaError
  );
  expect((error as KafkaError).message).toContain("within 60 ms");
  await broker.stop();
});
