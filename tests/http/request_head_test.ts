import { expect, test } from "bun:test";
import fc from "fast-check";
import { BODY_BYTES_MAX, headEnd, parseHead, type Refusal } from "../../src/http/request_head.ts";

const parse = (...lines: readonly string[]) =>
  parseHead(Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"));

function read(...lines: readonly string[]) {
  const head = parse(...lines);
  if (typeof head === "number") throw new Error(`refused: ${head}`);
  const { request, bodyBytes, keepsAlive } = head;
  return { path: new URL(request.url).pathname, method: request.method, bodyBytes, keepsAlive };
}

test("what is asked for, and whether the connection stays", () => {
  expect(read("GET /health?x=1 HTTP/1.1", "Host: a")).toEqual({
    path: "/health",
    method: "GET",
    bodyBytes: 0,
    keepsAlive: true,
  });
  expect(read("HEAD / HTTP/1.1", "Host: a", "Connection: Close")).toMatchObject({
    method: "HEAD",
    keepsAlive: false,
  });
  expect(read("GET / HTTP/1.0")).toMatchObject({ keepsAlive: false });
  expect(read("GET / HTTP/1.0", "Connection: keep-alive")).toMatchObject({ keepsAlive: true });
  expect(read("GET http://other:1/metrics HTTP/1.1", "Host: a")).toMatchObject({ path: "/metrics" });
  expect(read("BREW / HTTP/1.1", "Host: a", "Content-Length: 7")).toMatchObject({
    method: "POST",
    bodyBytes: 7,
  });
  const head = parse("GET / HTTP/1.1", "Host:  name:1 \t", "x-a: 1", "X-A: \xe4");
  if (typeof head === "number") throw new Error(`${head}`);
  expect(head.request.headers.get("host")).toBe("name:1");
});

test("what can be read in two ways, or is too much, is refused with its status", () => {
  const refused: readonly (readonly [number, ...string[]])[] = [
    [400, ""],
    [400, "GET /"],
    [400, "get / HTTP/1.1", "Host: a"],
    [400, "GET  / HTTP/1.1", "Host: a"],
    [400, "GET /a b HTTP/1.1", "Host: a"],
    [400, "GET /\u0001 HTTP/1.1", "Host: a"],
    [400, "GET nowhere HTTP/1.1", "Host: a"],
    [400, "GET / HTTP/1.1"],
    [400, "GET / HTTP/1.1", "Host: a", "Host: b"],
    [400, "GET / HTTP/1.1", "Host: a", " folded"],
    [400, "GET / HTTP/1.1", "Host : a"],
    [400, "GET / HTTP/1.1", "Host: a", "x: a\u0000b"],
    [400, "GET / HTTP/1.1", "Host: a", "x: a\nHost: b"],
    [400, "GET / HTTP/1.1", "Host: a", "Content-Length: -1"],
    [400, "GET / HTTP/1.1", "Host: a", "Content-Length: 1", "Content-Length: 1"],
    [413, "GET / HTTP/1.1", "Host: a", `Content-Length: ${BODY_BYTES_MAX + 1}`],
    [501, "POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"],
    [505, "GET / HTTP/2.0", "Host: a"],
  ];
  for (const [status, ...lines] of refused) {
    expect({ lines, status: parse(...lines) }).toEqual({ lines, status: status as Refusal });
  }
});

test("any bytes are read or refused, and nothing is thrown", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, hasLine) => {
    const text = Buffer.concat([
      Buffer.from(hasLine ? "GET / HTTP/1.1\r\nHost: a\r\n" : ""),
      bytes,
      Buffer.from("\r\n\r\n"),
    ]);
    const head = parseHead(text.subarray(0, headEnd(text)));
    if (typeof head === "number") expect([400, 413, 501, 505]).toContain(head);
  }));
});
