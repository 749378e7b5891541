import { afterEach, expect, test } from "bun:test";
import { existsSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StartError } from "../../src/errors.ts";
import { Tally } from "../../src/event/tally.ts";
import { type ApiServer, startApi } from "../../src/http/api.ts";
import { EventLoopLag } from "../../src/telemetry/event_loop_lag.ts";
import type { Log } from "../../src/telemetry/log.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { computeStatus, type Status } from "../../src/telemetry/status.ts";
import { tempDir } from "../support/temp_dir.ts";
import { parseExposition, valueOf } from "../telemetry/exposition_parser.ts";

const cleanups: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const facts = {
  sources: [{ name: "app", type: "file" }],
  sinks: [{ name: "events", type: "kafka", inputs: ["app"] }],
};

interface Setup {
  api: ApiServer;
  metrics: Metrics;
  messages: string[];
  get: (path: string, init?: RequestInit) => Promise<Response>;
}

async function setup(address = "127.0.0.1:0", makeStatus?: () => Status): Promise<Setup> {
  const metrics = new Metrics(1_000);
  metrics.source("app");
  metrics.sink("events");
  const messages: string[] = [];
  const keep = (message: string) => void messages.push(message);
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep };
  const eventLoopLag = new EventLoopLag();
  eventLoopLag.record(5, 0);
  const status = makeStatus ?? (() => computeStatus(metrics, 61_000, facts));
  const common = { address, connectionsMax: 64, metrics, status, log };
  const api = await startApi({ ...common, version: "1.2.3", eventLoopLag });
  cleanups.push(() => api.stop());
  const unix = api.address.startsWith("unix:") ? { unix: api.address.slice(5) } : {};
  const base = api.address.startsWith("unix:") ? "http://localhost" : `http://${api.address}`;
  return { api, metrics, messages, get: (path, init) => fetch(base + path, { ...unix, ...init }) };
}

function scratchDir(): string {
  const dir = tempDir("api");
  cleanups.push(dir.remove);
  return dir.path;
}

async function startError(address: string): Promise<StartError> {
  const error = await setup(address).then(() => null, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StartError);
  return error as StartError;
}

test("/health says that the process is alive, whatever the sinks do", async () => {
  const { get, metrics } = await setup();
  metrics.sink("events").healthFailure = { code: "x", message: "y", hint: null };
  const response = await get("/health");
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({
    status: "ok",
    version: "1.2.3",
    state: "running",
    uptime_seconds: 60,
    configuration: { state: "current", last_reload: null },
  });
});

test("/health says what is wrong with a configuration that could not take over, and stays 200", async () => {
  const { get, metrics } = await setup();
  const failure = {
    code: "missing-key",
    message: "the configuration has one error: no inputs",
    hint: "shipper validate",
  };
  metrics.reloads.ended({ result: "invalid", atMs: 61_000, failure });
  const response = await get("/health");
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({
    status: "ok",
    configuration: {
      state: "rejected",
      last_reload: {
        result: "invalid",
        at: "1970-01-01T00:01:01.000Z",
        message: failure.message,
        hint: failure.hint,
      },
    },
  });
  expect(await (await get("/")).text()).toContain(failure.message);
  metrics.reloads.ended({ result: "taken", atMs: 62_000, failure: null });
  expect(await (await get("/health")).json()).toMatchObject({ configuration: { state: "current" } });
  expect(await (await get("/")).text()).not.toContain("is not at work");
});

test("/ready is 200 while sinks deliver and 503 with the cause while one does not", async () => {
  const { get, metrics } = await setup();
  const ready = await get("/ready");
  expect(ready.status).toBe(200);
  expect(await ready.json()).toEqual({
    ready: true,
    state: "running",
    journal: null,
    sinks: [{ name: "events", type: "kafka", ready: true, cause: null, partitions_in_doubt: 0 }],
  });
  Object.assign(metrics.sink("events"), {
    bufferedEvents: 3,
    waitingSinceMs: 1_000,
    lastError: "Cannot reach any broker",
  });
  const notReady = await get("/ready");
  expect(notReady.status).toBe(503);
  expect(await notReady.json()).toEqual({
    ready: false,
    state: "running",
    journal: null,
    sinks: [{
      name: "events",
      type: "kafka",
      ready: false,
      cause: {
        code: "not-delivering",
        message: "3 events wait, and nothing was acknowledged for 60 s: Cannot reach any broker",
        hint: null,
      },
      partitions_in_doubt: 0,
    }],
  });
});

test("/ready and the status page tell of a journal that cannot be written, and of partitions in doubt", async () => {
  const { get, metrics } = await setup();
  metrics.journal = { writtenBytes: 2_048, commitCount: 3, liveCount: 4, failure: "EIO: <i/o error>" };
  metrics.sink("events").doubtStarted(60_000);
  metrics.sink("events").lost.add("undecidable", 7);
  expect(await (await get("/ready")).json()).toMatchObject({
    journal: { failure: "EIO: <i/o error>" },
    sinks: [{ partitions_in_doubt: 1 }],
  });
  const page = await (await get("/")).text();
  for (
    const part of ["4 live batches", "EIO: &lt;i/o error&gt;", "1 partitions wait", "lost: 7 (undecidable)"]
  ) {
    expect(page).toContain(part);
  }
});

test("/audit gives the account of the run", async () => {
  const { get, metrics } = await setup();
  const tally = new Tally();
  tally.readCount = 5;
  tally.deliveredCount = 2;
  tally.bufferedCount = 2;
  tally.drop("record_too_large", 1);
  tally.rejectedCount = 1;
  metrics.accounts = () => [{ source: "app", sink: "events", path: "/a.log", streamId: "1:2:3", tally }];
  Object.assign(metrics.sink("events"), { eventsInCount: 5, deliveredEventsCount: 2, bufferedEvents: 2 });
  metrics.source("app").lostBytes.add("truncated_unread", 9);
  const figures = {
    read: 5,
    recovered: 0,
    acknowledged: 2,
    in_flight: 0,
    buffered: 2,
    dropped: { record_too_large: 1 },
    dead_lettered: {},
    lost: {},
    left: 0,
    missing: 0,
    unexplained: 0,
  };
  const response = await get("/audit");
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({
    version: "1.2.3",
    data_dir: null,
    pid: null,
    adds_up: false,
    sinks: [{
      sink: "events",
      missing_in_streams: 0,
      differences: [{ figure: "dropped", streams: 1, sink: 0 }],
      ...figures,
    }],
    streams: [{ source: "app", sink: "events", path: "/a.log", stream_id: "1:2:3", ...figures }],
    unlisted_streams: 0,
    lost_bytes: [{ source: "app", cause: "truncated_unread", bytes: 9 }],
  });
  metrics.sink("events").dropped.add("app\u0000record_too_large", 1);
  expect(await (await get("/audit")).json()).toMatchObject({ adds_up: true, sinks: [{ differences: [] }] });
});

test("/metrics is a page that Prometheus reads", async () => {
  const { get, metrics } = await setup();
  metrics.sink("events").deliveredEventsCount = 12;
  const response = await get("/metrics");
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const page = parseExposition(await response.text());
  expect(valueOf(page, "shipper_sink_delivered_events_total", { sink: "events" })).toBe(12);
  expect(valueOf(page, "shipper_sink_ready", { sink: "events" })).toBe(1);
  expect(valueOf(page, "shipper_event_loop_lag_seconds", { quantile: "1" })).toBe(0.005);
  expect(valueOf(page, "process_resident_memory_bytes")).toBeGreaterThan(1_000_000);
});

test("/ shows sources, files and sinks, escaped and without anything from elsewhere", async () => {
  const { get, metrics } = await setup();
  metrics.source("app").fileLags = () => [
    {
      path: '/var/log/<script>alert("1")</script>.log',
      sink: "events",
      sizeBytes: 4_096,
      readBytes: 2_048,
      deliveredBytes: 1_024,
    },
  ];
  const sink = metrics.sink("events");
  sink.eventsInCount = 1_234_567;
  sink.lastError = "<img src=x onerror=alert(2)>";
  sink.dropped.add("app\u0000<b>", 2);
  sink.healthFailure = { code: "x", message: "<i>down</i>", hint: "<u>check</u>" };
  const response = await get("/");
  expect(response.headers.get("content-type")).toStartWith("text/html; charset=UTF-8");
  expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  const text = await response.text();
  expect(text).toStartWith("<!DOCTYPE html><html");
  expect(text).toContain("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;.log");
  expect(text).toContain("1,234,567");
  expect(text).toContain("3.0 KiB");
  expect(text).toContain("not ready");
  expect(text).toContain('&lt;i&gt;down&lt;/i&gt;<span class="note"> (hint: &lt;u&gt;check&lt;/u&gt;');
  expect(text).not.toMatch(/<(script|img|b|i|u|link|iframe)\b/);
  expect(text).not.toMatch(/<[^>]*(src|href)=/);
  expect(text).toContain('http-equiv="refresh"');
});

test("the API serves only GET and HEAD, and only its five paths", async () => {
  const { get } = await setup();
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
    const response = await get("/health", { method });
    expect([method, response.status, response.headers.get("allow")]).toEqual([method, 405, "GET, HEAD"]);
  }
  const head = await get("/ready", { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
  for (const path of ["/nothing", "/health/", "/../etc/passwd", "/%2e%2e/"]) {
    const response = await get(path);
    expect([path, response.status === 404 || response.status === 200]).toEqual([path, true]);
  }
  expect((await get("/nothing")).status).toBe(404);
});

test("the API logs a request that failed, and tells the client nothing", async () => {
  const { get, messages } = await setup("127.0.0.1:0", () => {
    throw new Error("secret reason");
  });
  const response = await get("/ready");
  expect(response.status).toBe(500);
  expect(await response.text()).not.toContain("secret");
  expect(messages).toEqual(["Cannot answer a request to the API: secret reason"]);
});

test("the API refuses a body that is too large", async () => {
  const { get } = await setup();
  const response = await get("/health", { method: "POST", body: "x".repeat(100_000) });
  expect([405, 413]).toContain(response.status);
});

test("the API listens on IPv6", async () => {
  const { api, get } = await setup("[::1]:0");
  expect(api.address).toMatch(/^\[::1\]:\d+$/);
  expect((await get("/health")).status).toBe(200);
});

test("a taken port is a StartError", async () => {
  const { api } = await setup();
  const error = await startError(api.address);
  expect(error.code).toBe("address-in-use");
  expect(error.message).toBe(`Cannot listen at "${api.address}": another process listens there`);
  expect(error.exitCode).toBe(78);
  expect(error.hint).toContain("api.address");
});

test("an address of another machine is a StartError", async () => {
  const error = await startError("192.0.2.1:8686");
  expect(error.code).toBe("address-unusable");
});

test("an address that can't be read is a StartError", async () => {
  for (
    const address of [
      "",
      "8686",
      "127.0.0.1",
      "127.0.0.1:99999",
      "::1:8686",
      "unix:relative",
      "unix:/tmp/",
      "a b:1",
    ]
  ) {
    const error = await startError(address);
    expect([address, error.code]).toEqual([address, "bad-address"]);
  }
});

test("the API listens on a unix socket that only its owner can use, and removes it at the end", async () => {
  const dir = scratchDir();
  const path = join(dir, "api.sock");
  const { api, get } = await setup(`unix:${path}`);
  expect(api.address).toBe(`unix:${path}`);
  expect((await get("/health")).status).toBe(200);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir)).toEqual(["api.sock"]);
  await api.stop();
  expect(readdirSync(dir)).toEqual([]);
});

test("a stale unix socket is replaced", async () => {
  const path = join(scratchDir(), "api.sock");
  const child = Bun.spawnSync([
    process.execPath,
    "-e",
    `Bun.serve({ unix: ${
      JSON.stringify(path)
    }, fetch: () => new Response() }); process.kill(process.pid, "SIGKILL");`,
  ]);
  expect(child.signalCode).toBe("SIGKILL");
  expect(existsSync(path)).toBe(true);
  const { get } = await setup(`unix:${path}`);
  expect((await get("/health")).status).toBe(200);
});

test("a live unix socket is refused and keeps working", async () => {
  const path = join(scratchDir(), "api.sock");
  const { get } = await setup(`unix:${path}`);
  const error = await startError(`unix:${path}`);
  expect(error.code).toBe("address-in-use");
  expect(error.message).toBe(`Cannot listen at "unix:${path}": another process listens there`);
  expect((await get("/health")).status).toBe(200);
});

test("a file or a link at the socket's path is refused and left alone", async () => {
  const dir = scratchDir();
  const file = join(dir, "file");
  writeFileSync(file, "mine");
  symlinkSync(file, join(dir, "link"));
  for (const path of [file, join(dir, "link")]) {
    const error = await startError(`unix:${path}`);
    expect(error.message).toBe(`Cannot listen at "unix:${path}": there is a file that is not a socket`);
  }
  expect(readdirSync(dir).sort()).toEqual(["file", "link"]);
  expect(await Bun.file(file).text()).toBe("mine");
});

test("a unix socket in a folder that does not exist is a StartError", async () => {
  const dir = scratchDir();
  const error = await startError(`unix:${dir}/no/api.sock`);
  expect(error.message).toBe(`Cannot listen at "unix:${dir}/no/api.sock": ENOENT`);
  expect(error.hint).toBe(`create the folder "${dir}/no"`);
});

test("a unix socket whose path is too long is a StartError and leaves nothing behind", async () => {
  const dir = scratchDir();
  const error = await startError(`unix:${dir}/${"x".repeat(300)}`);
  expect(error.code).toBe("address-unusable");
  expect(readdirSync(dir)).toEqual([]);
});

test("stopping does not remove a socket that another process has put in its place", async () => {
  const dir = scratchDir();
  const path = join(dir, "api.sock");
  const first = await setup(`unix:${path}`);
  rmSync(path);
  const second = await setup(`unix:${path}`);
  await first.api.stop();
  expect((await second.get("/health")).status).toBe(200);
});

test("stopping ends although a client keeps its connection open", async () => {
  const { api } = await setup();
  const [hostname, port] = api.address.split(":");
  const socket = await Bun.connect({ hostname: hostname!, port: Number(port), socket: { data: () => {} } });
  socket.write("GET /health HTTP/1.1\r\nHost: x\r\n");
  await Bun.sleep(10);
  await api.stop();
  socket.end();
  await expect(fetch(`http://${api.address}/health`)).rejects.toThrow();
});
