import { describe, expect, test } from "bun:test";
import { hostAt } from "../../src/kafka/dial.ts";
import { FakeBroker } from "../support/fake_broker.ts";
import { KeptLog } from "./producer_harness.ts";
import { connectTo, silentLog } from "./support.ts";

const OPTIONS = {
  host: "alias.example.org",
  port: 9_092,
  clientId: "test",
  tls: null,
  login: null,
  connectTimeoutMs: 200,
  socketTimeoutMs: 200,
  log: silentLog,
};
const NAMES: Readonly<Record<string, string>> = {
  "192.0.2.1": "one.example.org",
  "192.0.2.2": "two.example.org",
};

function lookUpName(address: string): Promise<string> {
  const hostname = NAMES[address];
  return hostname === undefined
    ? Promise.reject(new Error("getnameinfo ENOTFOUND"))
    : Promise.resolve(hostname);
}

describe("the name that a server's certificate has to be made out to", () => {
  test("is the one that was asked for", async () => {
    expect(await hostAt("192.0.2.1", OPTIONS, lookUpName)).toBe("alias.example.org");
  });

  test("is each address's canonical name, when asked for", async () => {
    const options = { ...OPTIONS, isCanonical: true };
    expect(await hostAt("192.0.2.1", options, lookUpName)).toBe("one.example.org");
    expect(await hostAt("192.0.2.2", options, lookUpName)).toBe("two.example.org");
  });

  test("is the cluster's own where the address came from it", async () => {
    const options = { ...OPTIONS, isCanonical: true, advertised: true };
    expect(await hostAt("192.0.2.1", options, lookUpName)).toBe("alias.example.org");
  });

  test("is the address itself where it has no name, or nobody answers in time", async () => {
    const log = new KeptLog();
    const options = { ...OPTIONS, isCanonical: true, log };
    expect(await hostAt("192.0.2.9", options, lookUpName)).toBe("192.0.2.9");
    expect(await hostAt("192.0.2.9", { ...options, connectTimeoutMs: 20 }, () => new Promise(() => {}))).toBe(
      "192.0.2.9",
    );
  });
});

test("a connection by a canonical name has that name", async () => {
  const broker = await FakeBroker.start();
  const plain = await connectTo(broker.port);
  const canonical = await connectTo(broker.port, { isCanonical: true });
  expect(plain.broker).toBe(`127.0.0.1:${broker.port}`);
  // What /etc/hosts calls it.
  expect(canonical.broker).toMatch(/^[A-Za-z][A-Za-z0-9.-]*:\d+$/u);
  plain.close();
  canonical.close();
  await broker.stop();
});
