import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { startProxy } from "../support/proxy.ts";
import { waitUntil } from "../support/wait_until.ts";

let echo: Server;
let echoPort = 0;
const accepted = new Set<Socket>();

beforeAll(async () => {
  echo = createServer((socket) => {
    accepted.add(socket);
    socket.on("error", () => {});
    socket.on("data", (data) => socket.write(data));
  });
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  echoPort = (echo.address() as { port: number }).port;
});

afterAll(() => {
  for (const socket of accepted) socket.destroy();
  echo.close();
});

/** A client that remembers what it got back. */
function client(port: number) {
  const socket = connect(port, "127.0.0.1");
  const state = {
    received: Buffer.alloc(0),
    closed: false,
    write: (text: string) => socket.write(text),
    end: () => socket.destroy(),
  };
  socket.on("data", (data: Buffer) => state.received = Buffer.concat([state.received, data]));
  socket.on("error", () => {});
  socket.on("close", () => state.closed = true);
  return state;
}

const got = (state: ReturnType<typeof client>, text: string) =>
  waitUntil(`"${text}" came back`, () => state.received.toString("latin1") === text);

test("forwards both ways, and a large answer whole", async () => {
  await using proxy = await startProxy(echoPort);
  const peer = client(proxy.port);
  const large = "x".repeat(3_000_000);
  peer.write(large);
  await waitUntil("all of it came back", () => peer.received.length === large.length);
  expect(peer.received.every((byte) => byte === 0x78)).toBe(true);
  peer.end();
  await waitUntil("the proxy let go", () => proxy.openCount === 0);
});

test("a stall holds bytes back and heal lets them go, in order", async () => {
  await using proxy = await startProxy(echoPort);
  const peer = client(proxy.port);
  peer.write("a");
  await got(peer, "a");
  proxy.setFault({ stall: ["response"] });
  peer.write("b");
  await Bun.sleep(30);
  expect(peer.received.toString()).toBe("a");
  proxy.heal();
  peer.write("c");
  await got(peer, "abc");
});

test("a delay is kept, and its end does not let later bytes overtake", async () => {
  await using proxy = await startProxy(echoPort);
  const peer = client(proxy.port);
  proxy.setFault({ delayMs: 40 });
  const startMs = performance.now();
  peer.write("a");
  await got(peer, "a");
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(75);
  proxy.setFault({ delayMs: 60_000 });
  peer.write("b");
  await Bun.sleep(20);
  proxy.heal();
  peer.write("c");
  await got(peer, "abc");
});

test("swallowed responses never come while requests arrive", async () => {
  await using proxy = await startProxy(echoPort);
  const peer = client(proxy.port);
  proxy.setFault({ swallow: ["response"] });
  peer.write("a");
  await Bun.sleep(30);
  proxy.heal();
  peer.write("b");
  await got(peer, "b");
});

test("cuts after exactly so many bytes", async () => {
  await using proxy = await startProxy(echoPort);
  const peer = client(proxy.port);
  peer.write("ab");
  await got(peer, "ab");
  proxy.setFault({ cutAfter: { direction: "response", bytes: 3 } });
  peer.write("cdefg");
  await waitUntil("the connection was cut", () => peer.closed);
  expect(peer.received.toString()).toBe("abcde");
});

test("corrupts one bit of one byte", async () => {
  await using proxy = await startProxy(echoPort);
  const peer = client(proxy.port);
  proxy.setFault({ corrupt: { direction: "request", at: 2 } });
  peer.write("aaaa");
  await got(peer, "aa`a");
});

test("cut and refuse end connections", async () => {
  await using proxy = await startProxy(echoPort);
  const peer = client(proxy.port);
  peer.write("a");
  await got(peer, "a");
  proxy.cut();
  await waitUntil("the connection was cut", () => peer.closed);
  proxy.setFault({ refuse: true });
  const second = client(proxy.port);
  await waitUntil("the second was closed", () => second.closed);
  expect(proxy.connectionCount).toBe(2);
});

test("cuts every second connection only, when told so", async () => {
  await using proxy = await startProxy(echoPort);
  proxy.setFault({ cutAfter: { direction: "request", bytes: 1, everyNth: 2 } });
  const [first, second] = [client(proxy.port), client(proxy.port)];
  for (const peer of [first, second]) peer.write("ab");
  await waitUntil("one was cut", () => first.closed || second.closed);
  await waitUntil("one goes on", () => first.received.length + second.received.length >= 2);
  expect([first.closed, second.closed].filter((closed) => closed)).toHaveLength(1);
});

test("stranded bytes arrive late, when their client is long gone", async () => {
  await using proxy = await startProxy(echoPort);
  const arrived: string[] = [];
  const peer = client(proxy.port);
  peer.write("a");
  await got(peer, "a");
  const server = [...accepted].at(-1)!;
  server.on("data", (data) => arrived.push(String(data)));
  proxy.setFault({ stall: ["request"] });
  peer.write("late");
  await waitUntil("the proxy holds it", () => proxy.heldRequestCount > 0);
  expect(proxy.strand()).toBe(1);
  await waitUntil("the client is cut off", () => peer.closed);
  proxy.heal();
  const next = client(proxy.port);
  next.write("new");
  await got(next, "new");
  expect(arrived).toEqual([]);
  proxy.deliverLate();
  await waitUntil("it arrives", () => arrived.length > 0);
  expect(arrived).toEqual(["late"]);
});
