import { afterEach, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { GIVE_UP_MS, HttpServer, type HttpServerOptions } from "../../src/http/http_server.ts";
import { HEAD_BYTES_MAX } from "../../src/http/request_head.ts";
import { waitUntil } from "../support/wait_until.ts";

const LARGE = "x".repeat(8 << 20);
const cleanups: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function start(options: Partial<HttpServerOptions> = {}) {
  const full: boolean[] = [];
  const asked: string[] = [];
  const server = new HttpServer({
    answer: (request) => {
      const { pathname } = new URL(request.url);
      asked.push(`${request.method} ${pathname}`);
      return new Response(pathname === "/large" ? LARGE : `you asked for ${pathname}`);
    },
    connectionsMax: 8,
    onFull: (isRefused) => full.push(isRefused),
    now: Date.now,
    ...options,
  });
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: server.handler,
  });
  cleanups.push(async () => {
    listener.stop(false);
    await server.stop(0);
  });
  return { server, port: listener.port, full, asked };
}

/** A client, what it got, and whether it was closed. */
async function client(port: number) {
  const socket: Socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  const state = { text: "", isClosed: false };
  socket.on("data", (data) => state.text += data.toString("latin1"));
  socket.on("error", () => {});
  socket.on("end", () => state.isClosed = true);
  socket.on("close", () => state.isClosed = true);
  cleanups.push(() => void socket.destroy());
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  const got = (text: string) =>
    waitUntil(`"${text}" is there, got "${state.text}"`, () => state.text.includes(text));
  const closed = () => waitUntil("it is closed", () => state.isClosed, { timeoutMs: 30_000 });
  return { socket, state, got, closed };
}

const GET = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;

test("requests of a connection are answered one after the other, in pieces and at once, with bodies passed over", async () => {
  const { port, asked } = start();
  const { socket, got, closed } = await client(port);
  for (const piece of GET("/1").match(/.{1,7}/gsu)!) {
    socket.write(piece);
    await Bun.sleep(1);
  }
  await got("you asked for /1");
  socket.write(
    `POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello${
      GET("/3")
    }HEAD /4 HTTP/1.1\r\nHost: a\r\n\r\n`,
  );
  socket.write(GET("/5", "Connection: close\r\n"));
  await got("you asked for /5");
  await closed();
  expect(asked).toEqual(["GET /1", "POST /2", "GET /3", "HEAD /4", "GET /5"]);
});

test("a client that has said all is answered before it is closed", async () => {
  const { port } = start();
  const { socket, state, closed } = await client(port);
  socket.end(GET("/large"));
  await closed();
  expect(state.text.endsWith(LARGE)).toBe(true);
});

test("a head that is too large is refused", async () => {
  const { port, asked } = start();
  for (const more of ["x".repeat(HEAD_BYTES_MAX), "x: 1\r\n".repeat(HEAD_BYTES_MAX / 6)]) {
    const { socket, got, closed } = await client(port);
    socket.write(GET("/", `a: ${more}\r\n`));
    await got("HTTP/1.1 431");
    await closed();
  }
  expect(asked).toEqual([]);
});

test("who sends a byte now and then is closed when the time for a request is over", async () => {
  const { port, asked, server } = start({ requestMs: 300 });
  const slow = await client(port);
  slow.socket.write("GET / HTTP/1.1\r\nHost: a\r\n");
  const drip = setInterval(() => slow.socket.write("x: 1\r\n"), 20);
  cleanups.push(() => clearInterval(drip));
  const silent = await client(port);
  await slow.closed();
  await silent.closed();
  await waitUntil("they are gone", () => server.connectionCount === 0);
  expect(asked).toEqual([]);
});

test("who does not take the answer is closed when the time for that is over", async () => {
  const { port, asked, server } = start({ answerMs: 300 });
  const slow = await client(port);
  slow.socket.pause();
  slow.socket.write(GET("/large"));
  await waitUntil("it was asked for", () => asked.length === 1);
  await waitUntil("it is gone", () => server.connectionCount === 0);
});

test("there are never more connections than allowed; one that is left alone gives way, after a second", async () => {
  const { port, server, full } = start({ connectionsMax: 3 });
  const first = [await client(port), await client(port), await client(port)];
  await waitUntil("they are there", () => server.connectionCount === 3);
  const refused = await client(port);
  await refused.closed();
  expect(full).toEqual([true]);
  expect(first.some(({ state }) => state.isClosed)).toBe(false);
  await Bun.sleep(GIVE_UP_MS + 100);
  // The first was asked something meanwhile: the second is the one that waits for longest.
  first[0]!.socket.write(GET("/a"));
  await first[0]!.got("you asked for /a");
  const next = await client(port);
  next.socket.write(GET("/b"));
  await next.got("you asked for /b");
  expect(full).toEqual([true, false]);
  await waitUntil("the second is closed", () => first[1]!.state.isClosed);
  expect([first[0]!.state.isClosed, first[2]!.state.isClosed, server.connectionCount]).toEqual([
    false,
    false,
    3,
  ]);
  server.connectionsMax = 4;
  const more = await client(port);
  more.socket.write(GET("/c"));
  await more.got("you asked for /c");
  expect(server.connectionCount).toBe(4);
});

test("at the end what was asked for is answered, and the rest is closed", async () => {
  const gate = Promise.withResolvers<Response>();
  const { port, server, asked } = start({
    answer: (request) => {
      asked.push(request.url);
      return gate.promise;
    },
  });
  const idle = await client(port);
  const busy = await client(port);
  busy.socket.write(GET("/"));
  await waitUntil("it was asked for", () => asked.length === 1);
  const stopped = server.stop(30_000);
  await idle.closed();
  gate.resolve(new Response("at last"));
  await busy.got("at last");
  expect(busy.state.text.toLowerCase()).toContain("connection: close");
  busy.socket.end();
  await stopped;
  expect(server.connectionCount).toBe(0);
});
