import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { READY_WAIT_MAX_MS } from "../../src/telemetry/status.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { storedPosition } from "../support/stored_position.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { FakeProcess } from "./fake_process.ts";

let dir: TempDir;
let kafka: FakeKafka;
let host: FakeProcess;
beforeEach(async () => {
  dir = tempDir("run");
  kafka = await FakeKafka.start(1, { logs: 2 });
  host = new FakeProcess();
});
afterEach(async () => {
  await kafka[Symbol.asyncDispose]();
  dir.remove();
});

/** Writes a configuration of one file source and one Kafka sink, and gives its path. */
function config(more: { top?: string; sink?: string } = {}): string {
  const path = dir.file("config.toml");
  writeFileSync(
    path,
    `data_dir = ${JSON.stringify(dir.file("data"))}
log.format = "json"
${more.top ?? ""}
[sources.app]
type = "file"
include = [${JSON.stringify(dir.file("*.log"))}]
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(kafka.bootstrapServers)}
topic = "logs"
retry.interval_ms = 5
retry.max_interval_ms = 20
${more.sink ?? ""}
`,
  );
  return path;
}

function write(count: number): void {
  for (let i = 0; i < count; i++) appendFileSync(dir.file("app.log"), `line ${i}\n`);
}

async function get(path: string): Promise<{ status: number; text: string }> {
  const address = /Listening on ([^\s"]+)/.exec(host.stderr)![1]!;
  const response = await fetch(`http://${address.replace(/^http:\/\//, "")}${path}`);
  return { status: response.status, text: await response.text() };
}

describe("exit codes", () => {
  test("0 when everything was delivered, with positions stored", async () => {
    write(10);
    expect(await host.run(config(), { once: true })).toBe(0);
    expect(kafka.values()).toHaveLength(10);
    expect(storedPosition(dir.file("data"), "app", "events")).toBe(70);
    expect(host.logged("info").at(-1)).toMatchObject({ message: "Stopped", delivered: 10, dropped: 0 });
    expect(await new FakeProcess().run(config(), { once: true })).toBe(0);
    expect(kafka.values()).toHaveLength(10);
  });

  test("1 when something was dropped under --once", async () => {
    write(3);
    kafka.refuse = () => ({ errorCode: ErrorCode.INVALID_RECORD });
    expect(await host.run(config(), { once: true })).toBe(1);
    expect(host.logged("info").at(-1)).toMatchObject({ delivered: 0, dropped: 3 });
  });

  test("78 for a configuration that is wrong, a data_dir in use, and a failed check under --require-healthy", async () => {
    const wrong = dir.file("wrong.toml");
    writeFileSync(wrong, "[sinks.x]\n");
    expect(await host.run(wrong)).toBe(78);

    const first = new FakeProcess();
    const running = first.run(config());
    await until(() => first.stderr.includes("Started"), "it has started");
    const second = new FakeProcess();
    expect(await second.run(config())).toBe(78);
    expect(second.stderr).toContain("error[");
    first.signal("SIGINT");
    expect(await running).toBe(0);

    kafka.topics.clear();
    const third = new FakeProcess();
    expect(await third.run(config(), { requireHealthy: true })).toBe(78);
    expect(third.logged("error")[0]!.message).toContain("ending, as --require-healthy asks");
    expect(kafka.attempts).toEqual([]);
  });
});

describe("signals", () => {
  test("the first: what was read is delivered, then the end", async () => {
    write(5);
    kafka.fault = () => ({ delayMs: 40 });
    const running = host.run(config());
    await until(() => kafka.attempts.length > 0, "something is in flight");
    host.signal("SIGTERM");
    expect(await running).toBe(0);
    expect(kafka.values()).toHaveLength(5);
    expect(storedPosition(dir.file("data"), "app", "events")).toBe(35);
  });

  test("after shutdown_timeout_secs it ends without what is not delivered, which stays in its file", async () => {
    write(5);
    kafka.fault = () => ({ kind: "silence" });
    const running = host.run(config({ top: "shutdown_timeout_secs = 0.1" }));
    await until(() => kafka.attempts.length > 0, "something is in flight");
    host.signal("SIGTERM");
    expect(await running).toBe(0);
    expect(host.logged("warn").map((line) => line.message).join("\n")).toContain(
      "the next run reads them from their files again",
    );
    kafka.fault = () => undefined;
    expect(await new FakeProcess().run(config(), { once: true })).toBe(0);
    expect(kafka.values()).toHaveLength(5);
  });

  test("the second ends the process at once, with the code of its signal", async () => {
    const running = host.run(config());
    await until(() => host.stderr.includes("Started"), "it has started");
    host.signal("SIGTERM");
    host.signal("SIGINT");
    host.signal("SIGTERM");
    expect(host.exitCodes).toEqual([130, 143]);
    await running;
  });
});

describe("/ready", () => {
  const withApi = { top: 'api.address = "127.0.0.1:0"' };

  test("is false with the cause when nothing is acknowledged for 30 s, and true when it is", async () => {
    write(5);
    kafka.refuse = () => ({ errorCode: ErrorCode.NOT_ENOUGH_REPLICAS });
    const running = host.run(config(withApi));
    // An attempt that the broker has seen is not yet an answer that has arrived.
    await until(() => host.stderr.includes("NOT_ENOUGH_REPLICAS"), "it was refused");
    await until(() => host.stderr.includes("passed"), "the check at start has passed");
    expect((await get("/ready")).status).toBe(200);
    host.skewMs = READY_WAIT_MAX_MS + 1_000;
    const stalled = await get("/ready");
    expect(stalled.status).toBe(503);
    expect(stalled.text).toContain("5 events wait");
    expect(stalled.text).toContain("NOT_ENOUGH_REPLICAS");
    expect((await get("/health")).status).toBe(200);
    kafka.refuse = () => undefined;
    await until(() => kafka.values().length === 5, "all is delivered");
    await Bun.sleep(10);
    expect((await get("/ready")).status).toBe(200);
    host.signal("SIGTERM");
    expect(await running).toBe(0);
  });

  test("is false until the check at start has passed, as nobody knows yet", async () => {
    const [broker] = kafka.brokers;
    const answer = broker!.handlers.get(ApiKey.Metadata)!;
    broker!.on(ApiKey.Metadata, () => "silence");
    const running = host.run(config({ top: `${withApi.top}`, sink: "request_timeout_ms = 1000" }));
    await until(() => broker!.countOf(ApiKey.Metadata) > 0, "the cluster is asked");
    const unknown = await get("/ready");
    expect(unknown.status).toBe(503);
    expect(unknown.text).toContain("is being checked");
    broker!.on(ApiKey.Metadata, answer);
    await until(() => host.stderr.includes("passed"), "a check has passed");
    expect((await get("/ready")).status).toBe(200);
    host.signal("SIGTERM");
    expect(await running).toBe(0);
  });

  test("is false while the check at start has failed, and true when a later one passes, without any event", async () => {
    kafka.topics.clear();
    const running = host.run(config(withApi));
    await until(() => host.logged("error").length > 0, "the check has failed");
    const failed = await get("/ready");
    expect(failed.status).toBe(503);
    expect(failed.text).toContain("the cluster does not know it");
    kafka.addTopic("logs", 1);
    await until(() => host.stderr.includes("passed"), "a later check passes");
    expect((await get("/ready")).status).toBe(200);
    expect(host.logged("error")).toHaveLength(1);
    host.signal("SIGTERM");
    expect(await running).toBe(0);
  });
});
