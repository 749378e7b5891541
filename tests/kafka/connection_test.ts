import { afterEach, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import RequestQueue from "kafkajs/src/network/requestQueue";
import type { BrokerConnection } from "../../src/kafka/broker_connection.ts";
import type { RequestError } from "../../src/kafka/errors.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { apiVersionsBody, FakeBroker } from "../support/fake_broker.ts";
import { connectTo, failureOf, until } from "./support.ts";

let broker: FakeBroker;
const opened: { close(): void }[] = [];

async function start(): Promise<FakeBroker> {
  broker = await FakeBroker.start();
  opened.push({ close: () => void broker.stop() });
  return broker;
}

async function connect(...args: Parameters<typeof connectTo>): Promise<BrokerConnection> {
  const connection = await connectTo(...args);
  opened.push(connection);
  return connection;
}

afterEach(() => {
  for (const each of opened.splice(0)) each.close();
});

/** DescribeProducers is flexible, its body here is arbitrary. */
function ask(connection: BrokerConnection, body: string, timeoutMs = 1_000): Promise<string> {
  return connection.request(ApiKey.DescribeProducers, 0, [Buffer.from(body)], { timeoutMs }).then(String);
}

const echo = (request: { body: Buffer }) => ({ body: request.body });

describe("open", () => {
  test("agrees on versions", async () => {
    await start();
    const connection = await connect(broker.port);
    expect(connection.isOpen).toBe(true);
    expect(broker.requests.map(({ apiKey, apiVersion, clientId }) => [apiKey, apiVersion, clientId])).toEqual(
      [[18, 3, "test"]],
    );
    expect(connection.versionFor(ApiKey.Produce, 3, 10)).toBe(10);
    expect(connection.highestVersion(ApiKey.CreateTopics, 0, 1)).toBeNull();
    expect(connection.highestVersion(99, 0, 1)).toBeNull();
    expect(() => connection.versionFor(ApiKey.CreateTopics, 0, 1)).toThrow(
      `Cannot send CreateTopics to broker "${broker.address}": it knows versions 2 to 7, versions 0 to 1 are spoken here`,
    );
  });

  test("falls back to ApiVersions v0 with a broker that does not know v3", async () => {
    await start();
    broker.on(ApiKey.ApiVersions, ({ apiVersion }) => ({
      body: apiVersion > 2 ? apiVersionsBody([[18, 0, 2]], 0, 35) : apiVersionsBody([[0, 0, 5]], apiVersion),
    }));
    const connection = await connect(broker.port);
    expect(connection.highestVersion(ApiKey.Produce, 3, 10)).toBe(5);
    expect(broker.requests.map((request) => request.apiVersion)).toEqual([3, 0]);
  });

  test("nothing listens", async () => {
    await start();
    await broker.stop();
    const error = await failureOf(connectTo(broker.port));
    expect(error.code).toBe("ECONNREFUSED");
    expect(error.message).toBe(
      `Cannot connect to broker "${broker.address}": nothing listens there (ECONNREFUSED)`,
    );
    expect(error.hint).toContain("bootstrap_servers");
    const advertised = await failureOf(connectTo(broker.port, { advertised: true }));
    expect(advertised.hint).toContain("advertised.listeners");
  });

  test("a name that does not exist", async () => {
    const error = await failureOf(connectTo(9092, { host: "no-such-host.invalid" }));
    expect(["ENOTFOUND", "EAI_AGAIN", "timeout", "ESERVFAIL", "ECONNREFUSED", "DNS_ENOTFOUND"]).toContain(
      error.code,
    );
    expect(error.message).toContain(`Cannot connect to broker "no-such-host.invalid:9092"`);
    expect(error.hint).toContain("no-such-host.invalid");
  });

  test("a name with several addresses: all are tried", async () => {
    await start();
    const connection = await connect(broker.port, { host: "localhost" });
    expect(connection.isOpen).toBe(true);
  });

  test("a peer that never answers", async () => {
    await start();
    broker.on(ApiKey.ApiVersions, () => "silence");
    const error = await failureOf(connectTo(broker.port, { connectTimeoutMs: 50 }));
    expect(error.code).toBe("timeout");
    expect(error.message).toBe(
      `Cannot connect to broker "${broker.address}": connected, and no answer to the first request within 50 ms`,
    );
    await until(() => broker.sockets.size === 0, "the attempt's socket is closed");
  });

  test("a peer that never answers, with TLS", async () => {
    await start();
    const tls = { ca: null, crt: null, key: null, keyPass: null, verifyHostname: true, serverName: null };
    const error = await failureOf(connectTo(broker.port, { connectTimeoutMs: 100, tls }));
    expect(error.code).toBe("timeout");
    expect(error.message).toContain("the TLS handshake was not finished within 100 ms");
    await until(() => broker.sockets.size === 0, "the attempt's socket is closed");
  });

  test("a peer that closes at the first request, as a TLS listener does", async () => {
    await start();
    broker.on(ApiKey.ApiVersions, () => "cut");
    const error = await failureOf(connectTo(broker.port));
    expect(error.code).toBe("closed");
    expect(error.message).toContain("it closed the connection at the first request");
    expect(error.hint).toContain("tls.enabled = true");
  });

  test("an HTTP server, a TLS server, and noise", async () => {
    const cases = [
      ["HTTP/1.1 400 Bad Request\r\n\r\n", "not-kafka", "an HTTP server answers there"],
      ["\x15\x03\x01\x00\x02\x02\x46", "tls-expected", "it speaks TLS, and tls.enabled is not set"],
      ["\xff\xff\xff\xff", "not-kafka", "the peer's answer is not Kafka's protocol"],
      ["SSH-2.0-OpenSSH_9.2\r\n", "not-kafka", "the peer's answer is not Kafka's protocol"],
    ] as const;
    await start();
    for (const [bytes, code, words] of cases) {
      broker.on(ApiKey.ApiVersions, () => ({ raw: Buffer.from(bytes, "latin1"), thenCut: true }));
      const error = await failureOf(connectTo(broker.port));
      expect(error.code).toBe(code);
      expect(error.message).toContain(words);
      expect(error.message).toContain(broker.address);
    }
  });

  test("TLS to a peer that answers in plain text", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    opened.push(server);
    const { port } = server.address() as { port: number };
    const tls = { ca: null, crt: null, key: null, keyPass: null, verifyHostname: true, serverName: null };
    const error = await failureOf(connectTo(port, { tls }));
    expect(error.hint).toMatch(/tls.enabled|SSL listener/);
  });

  test("an answer with a broken body", async () => {
    await start();
    broker.on(ApiKey.ApiVersions, () => ({ body: Buffer.from([0, 0, 200]) }));
    const error = await failureOf(connectTo(broker.port));
    expect(error.code).toBe("not-kafka");
  });

  test("gives up when told to, and leaves no socket behind", async () => {
    await start();
    broker.on(ApiKey.ApiVersions, () => "silence");
    const abort = new AbortController();
    const failed = failureOf(connectTo(broker.port, { signal: abort.signal }));
    await until(() => broker.requests.length === 1, "the first request");
    abort.abort();
    expect((await failed).code).toBe("aborted");
    await until(() => broker.sockets.size === 0, "the socket is closed");
    expect((await failureOf(connectTo(broker.port, { signal: abort.signal }))).code).toBe("aborted");
  });
});

describe("request", () => {
  test("answers find their requests, also when they come in pieces", async () => {
    await start();
    broker.on(ApiKey.DescribeProducers, echo);
    const connection = await connect(broker.port);
    const answers = await Promise.all(
      ["a", "bb", "", "c".repeat(70_000)].map((body) => ask(connection, body)),
    );
    expect(answers.map((answer) => answer.length)).toEqual([1, 2, 0, 70_000]);
    expect(connection.inFlightCount).toBe(0);
    expect(connection.bytesReadCount).toBeGreaterThan(70_000);
    expect(connection.bytesWrittenCount).toBeGreaterThan(70_000);
  });

  test("large and small chunks arrive in order and whole", async () => {
    await start();
    broker.on(ApiKey.DescribeProducers, ({ body }) => ({ body: Buffer.from(Bun.hash(body).toString()) }));
    const connection = await connect(broker.port);
    const chunks = [3, 1_000_000, 17, 20_000, 9, 0, 16_384, 16_385, 500_000].map((size, i) =>
      Buffer.alloc(size, 97 + i)
    );
    const expected = Bun.hash(Buffer.concat(chunks)).toString();
    const sent = Array.from(
      { length: 6 },
      () => connection.request(ApiKey.DescribeProducers, 0, chunks, { timeoutMs: 5_000 }).then(String),
    );
    expect(await Promise.all(sent)).toEqual(Array(6).fill(expected));
  });

  test("without an answer: resolves once written", async () => {
    await start();
    const connection = await connect(broker.port);
    const big = Buffer.alloc(300_000, 1);
    const result = await connection.request(ApiKey.Produce, 9, [big], {
      timeoutMs: 1_000,
      expectResponse: false,
    });
    expect(result.length).toBe(0);
    expect(connection.inFlightCount).toBe(0);
    await until(() => broker.countOf(ApiKey.Produce) === 1, "the request arrives");
    expect(broker.requests.at(-1)!.body.equals(big)).toBe(true);
  });

  test("no answer in time closes the connection and rejects all that wait", async () => {
    await start();
    const connection = await connect(broker.port);
    const closed = Promise.withResolvers<RequestError>();
    connection.onClose(closed.resolve);
    const first = failureOf(ask(connection, "a", 40));
    const second = failureOf(ask(connection, "b", 60_000));
    expect((await first).message).toBe(
      `Broker "${broker.address}" gave no answer to DescribeProducers within 40 ms; the connection is closed`,
    );
    expect([(await first).code, (await second).code, (await closed.promise).code]).toEqual([
      "timeout",
      "timeout",
      "timeout",
    ]);
    expect(connection.isOpen).toBe(false);
    expect((await failureOf(ask(connection, "c"))).code).toBe("timeout");
  });

  test("a dead peer: no bytes either way while an answer is awaited", async () => {
    await start();
    const connection = await connect(broker.port, { socketTimeoutMs: 60 });
    const error = await failureOf(ask(connection, "a", 60_000));
    expect(error.message).toContain("sent and took no bytes for 60 ms");
  });

  test("an idle connection is not a dead peer", async () => {
    await start();
    broker.on(ApiKey.DescribeProducers, echo);
    const connection = await connect(broker.port, { socketTimeoutMs: 500 });
    await ask(connection, "a", 5_000);
    await Bun.sleep(1_500);
    expect(connection.isOpen).toBe(true);
    expect(await ask(connection, "b", 5_000)).toBe("b");
  });

  test("half an answer, then the end", async () => {
    await start();
    broker.on(ApiKey.DescribeProducers, () => ({ raw: Buffer.from("000000ff0000", "hex"), thenCut: true }));
    const connection = await connect(broker.port);
    const error = await failureOf(ask(connection, "a"));
    expect(error.code).toBe("closed");
    expect(error.message).toBe(`Broker "${broker.address}" closed the connection at the first request`);
  });

  test("a cut at the first request hints at SASL; a later one does not", async () => {
    await start();
    broker.on(ApiKey.DescribeProducers, () => "cut");
    const early = await failureOf(ask(await connect(broker.port), "a"));
    expect(early.hint).toContain("sasl.enabled");
    broker.on(ApiKey.DescribeProducers, echo);
    const connection = await connect(broker.port);
    await ask(connection, "a");
    broker.on(ApiKey.DescribeProducers, () => "cut");
    expect((await failureOf(ask(connection, "a"))).hint).toBeNull();
  });

  test("an answer to a request that was not asked", async () => {
    await start();
    broker.on(
      ApiKey.DescribeProducers,
      ({ body, correlationId }) => ({ body, correlationId: correlationId + 100 }),
    );
    const error = await failureOf(ask(await connect(broker.port), "a"));
    expect(error.code).toBe("bad-answer");
    expect(error.message).toContain("which was not asked");
  });

  test("a length that cannot be", async () => {
    await start();
    for (const length of ["7fffffff", "06400001", "80000000", "00000003", "ffffffff"]) {
      broker.on(ApiKey.DescribeProducers, () => ({ raw: Buffer.from(length + "00000000", "hex") }));
      const error = await failureOf(ask(await connect(broker.port), "a"));
      expect(error.code).toBe("bad-answer");
      expect(error.message).toContain("between 4 and 104857600 are possible");
    }
  });

  test("random bytes never hang or crash: an answer or an error", async () => {
    await start();
    let seed = 1;
    broker.on(ApiKey.DescribeProducers, () => {
      const bytes = Buffer.alloc(40);
      for (let i = 0; i < bytes.length; i++) {
        bytes[i] = (seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 16;
      }
      return { raw: bytes, thenCut: true };
    });
    for (let i = 0; i < 30; i++) {
      const error = await failureOf(ask(await connect(broker.port), "a"));
      expect(["bad-answer", "closed", "ECONNRESET"]).toContain(error.code);
    }
  });

  test("close rejects what waits, once", async () => {
    await start();
    const connection = await connect(broker.port);
    let callbacksCount = 0;
    connection.onClose(() => callbacksCount++);
    const waiting = failureOf(ask(connection, "a"));
    const unanswered = failureOf(
      connection.request(ApiKey.Produce, 9, [Buffer.alloc(20_000_000)], {
        timeoutMs: 1_000,
        expectResponse: false,
      }),
    );
    connection.close();
    connection.close();
    expect((await waiting).code).toBe("closed");
    expect((await unanswered).code).toBe("closed");
    const late = Promise.withResolvers<RequestError>();
    connection.onClose(late.resolve);
    expect((await late.promise).code).toBe("closed");
    expect(callbacksCount).toBe(1);
    await until(() => broker.sockets.size === 0, "the socket is closed");
  });

  test("requests wait while the broker throttles", async () => {
    await start();
    broker.on(ApiKey.DescribeProducers, echo);
    const connection = await connect(broker.port);
    connection.throttle(80);
    const sentMs = Date.now();
    const answer = ask(connection, "a");
    expect(connection.inFlightCount).toBe(1);
    expect(await answer).toBe("a");
    expect(Date.now() - sentMs).toBeGreaterThanOrEqual(70);
  });

  test("an idle connection holds no timer", async () => {
    await start();
    broker.on(ApiKey.DescribeProducers, echo);
    const connection = await connect(broker.port);
    await ask(connection, "a");
    await Bun.sleep(300);
    const timers = globalThis.setTimeout;
    let timersCount = 0;
    globalThis.setTimeout = Object.assign((...args: Parameters<typeof timers>) => {
      timersCount++;
      return timers(...args);
    }, timers) as typeof timers;
    try {
      await Bun.sleep(100);
    } finally {
      globalThis.setTimeout = timers;
    }
    expect(timersCount).toBe(0);
  });
});

test("kafkajs has what connection.ts replaces", () => {
  for (
    const name of [
      "scheduleCheckPendingRequests",
      "checkPendingRequests",
      "fulfillRequest",
      "rejectAll",
      "canSendSocketRequestImmediately",
    ]
  ) {
    expect(typeof (RequestQueue.prototype as unknown as Record<string, unknown>)[name]).toBe("function");
  }
});
