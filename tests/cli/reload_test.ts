import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { auditStored } from "../../src/cli/stored_audit.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { kernelHost } from "../../src/kafka/kernels.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { FakeProcess } from "./fake_process.ts";

let dir: TempDir;
let kafka: FakeKafka;
let host: FakeProcess;
beforeEach(async () => {
  dir = tempDir("reload");
  kafka = await FakeKafka.start(1, { logs: 1, more: 1 });
  host = new FakeProcess();
});
afterEach(async () => {
  await kafka[Symbol.asyncDispose]();
  dir.remove();
});

interface Text {
  readonly top?: string;
  readonly source?: string;
  readonly sink?: string;
  readonly more?: string;
}

const configPath = () => dir.file("config.toml");

/** Writes a configuration of one file source and one Kafka sink. */
function write({ top = "", source = "", sink = "", more = "" }: Text = {}): string {
  writeFileSync(
    configPath(),
    `${top.includes("data_dir") ? "" : `data_dir = ${JSON.stringify(dir.file("data"))}`}
log.format = "json"
${top}
[sources.app]
type = "file"
include = [${JSON.stringify(dir.file("*.log"))}]
glob_minimum_cooldown_ms = 20
${source}
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(kafka.bootstrapServers)}
topic = "logs"
retry.interval_ms = 5
retry.max_interval_ms = 20
batch.timeout_ms = 1
${sink}
${more}
`,
  );
  return configPath();
}

let lineCount = 0;
async function ship(count: number, from: FakeKafka = kafka): Promise<void> {
  const before = from.values().length;
  for (let i = 0; i < count; i++) appendFileSync(dir.file("app.log"), `line ${lineCount++}\n`);
  await until(() => from.values().length === before + count, `${count} more lines are there`);
}

const ANSWERS = /Took the changed configuration over|Cannot take the changed|nothing has changed/g;

/** Asks for the configuration to be read again; gives what was logged about it. */
async function reload(): Promise<string> {
  const at = host.stderr.length;
  host.hangUp("reload");
  await until(() => host.stderr.slice(at).match(ANSWERS) !== null, "the reload has come to a result");
  return host.stderr.slice(at);
}

/** Starts shipper, has `work` done, and stops it; gives the exit code. */
async function during(text: Text, work: () => Promise<void>): Promise<number> {
  const promise = host.run(write(text));
  await until(() => host.stderr.includes("Started"), "it has started");
  await work();
  host.signal("SIGTERM");
  const code = await promise;
  expect(host.stderr).not.toContain("does not add up");
  return code;
}

async function get(path: string): Promise<{ status: number; text: string }> {
  const [, address] = [...host.stderr.matchAll(/Listening on ([^\s"]+)/g)].at(-1)!;
  const response = await fetch(`http://${address}${path}`);
  return { status: response.status, text: await response.text() };
}

describe("what is the same goes on", () => {
  test("nothing has changed: nothing is done, and it is said", async () => {
    const code = await during({}, async () => {
      await ship(3);
      const connections = kafka.brokers[0]!.connectionsCount;
      expect(await reload()).toContain("Read the configuration again: nothing has changed");
      await ship(3);
      expect(kafka.brokers[0]!.connectionsCount).toBe(connections);
    });
    expect(code).toBe(0);
  });

  test("only the log, the API and the time for stopping: sources and sinks go on untouched", async () => {
    const code = await during({ top: 'api.address = "127.0.0.1:0"' }, async () => {
      await ship(3);
      write({ top: 'log.level = "debug"\nshutdown_timeout_secs = 3\nwatch_config = true' });
      const log = await reload();
      expect(log).toContain(
        "changed: api.address, log.level, shutdown_timeout_secs, watch_config; all sources and sinks go on untouched",
      );
      await expect(get("/health")).rejects.toThrow();
      await ship(3);
    });
    expect(code).toBe(0);
    expect(host.stderr).toContain("is delivered within 3 s");
  });
});

describe("what has changed starts anew, without losing or repeating a line", () => {
  test("a sink goes to another topic, a source gets other files, another sink comes and goes", async () => {
    const other = `[sinks.copy]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(kafka.bootstrapServers)}
topic = "more"`;
    const code = await during({}, async () => {
      await ship(5);
      write({ more: other });
      expect(await reload()).toContain(
        'added: sink \\"copy\\"; restarted: source \\"app\\"; untouched: sink \\"events\\"',
      );
      await until(() => kafka.log("more", 0).values.length === 5, "the new sink has what was there");
      write({ sink: "batch.max_events = 2" });
      expect(await reload()).toContain(
        'restarted: source \\"app\\", sink \\"events\\"; removed: sink \\"copy\\"',
      );
      await ship(5);
      write({ source: `exclude = [${JSON.stringify(dir.file("app.log"))}]`, sink: "batch.max_events = 2" });
      expect(await reload()).toContain('restarted: source \\"app\\"; untouched: sink \\"events\\"');
      appendFileSync(dir.file("b.log"), "of another file\n");
      await until(() => kafka.values().includes("of another file"), "the other file is read");
      write({ sink: "batch.max_events = 2" });
      await reload();
      await ship(1);
    });
    expect(code).toBe(0);
    const values = kafka.log("logs", 0).values;
    expect(new Set(values).size).toBe(values.length);
    expect(values).toHaveLength(12);
    expect(kafka.log("more", 0).values).toHaveLength(5);
    expect(auditStored(readJournal(dir.file("data")), dir.file("data")).addsUp).toBe(true);
  });

  test('files that come while a source takes over are not "there before" for read_from = "end"', async () => {
    appendFileSync(dir.file("old.log"), "old\n");
    const code = await during({ source: 'read_from = "end"' }, async () => {
      await until(() => readJournal(dir.file("data")).positions.records("app").length === 1, "it is known");
      // The sink needs a moment to end, in which nobody looks at the folder.
      kafka.fault = () => ({ delayMs: 300 });
      appendFileSync(dir.file("old.log"), "held\n");
      await until(() => kafka.attempts.length > 0, "something is in flight");
      write({ source: 'read_from = "end"', sink: "batch.max_events = 9" });
      const done = reload();
      await Bun.sleep(50);
      appendFileSync(dir.file("new.log"), "came meanwhile\n");
      await done;
      kafka.fault = () => undefined;
      await until(() => kafka.values().includes("came meanwhile"), "it is read from its start");
    });
    expect(code).toBe(0);
    expect(kafka.values()).toEqual(["held", "came meanwhile"]);
  });

  test("a sink whose broker does not answer is given up, and its lines are read for the one that comes", async () => {
    const second = await FakeKafka.start(1, { logs: 1 });
    try {
      const code = await during(
        { top: 'shutdown_timeout_secs = 0.2\napi.address = "127.0.0.1:0"' },
        async () => {
          kafka.fault = () => ({ kind: "silence" });
          for (let i = 0; i < 9; i++) appendFileSync(dir.file("app.log"), `held ${i}\n`);
          await until(() => kafka.attempts.length > 0, "something is in flight");
          write({ top: 'shutdown_timeout_secs = 0.2\napi.address = "127.0.0.1:0"' });
          writeFileSync(
            configPath(),
            (await Bun.file(configPath()).text()).replace(
              kafka.bootstrapServers[0]!,
              second.bootstrapServers[0]!,
            ),
          );
          await reload();
          await until(() => second.values().length === 9, "the other cluster has them");
          const { text } = await get("/audit");
          expect(JSON.parse(text)).toMatchObject({ adds_up: true, sinks: [{ sink: "events", left: 0 }] });
        },
      );
      expect(code).toBe(0);
      expect(second.values()).toEqual(Array.from({ length: 9 }, (_, i) => `held ${i}`));
      expect(kafka.values()).toEqual([]);
      expect(host.stderr).not.toContain("the next run reads them");
    } finally {
      await second[Symbol.asyncDispose]();
    }
  });

  test("the memory of batches that were given up is free again", async () => {
    const { shared } = kernelHost();
    const top = "shutdown_timeout_secs = 0.1";
    const code = await during({ top }, async () => {
      kafka.fault = () => ({ kind: "silence" });
      for (let i = 0; i < 2_000; i++) appendFileSync(dir.file("app.log"), `${"x".repeat(200)} ${i}\n`);
      await until(() => kafka.attempts.length > 0, "something is in flight");
      write({ top, sink: "batch.max_events = 101" });
      await reload();
      const usedBytes = shared.usedBytes;
      for (let round = 0; round < 4; round++) {
        write({ top, sink: `batch.max_events = ${102 + round}` });
        await reload();
      }
      // One batch may be full: an arena of 1 MiB. Each of the rounds has given up one.
      await until(() => shared.usedBytes <= usedBytes + 1_200_000, "it is given back");
    });
    expect(code).toBe(0);
  }, 20_000);

  test("reloads that are asked for during one are one more, with the newest files", async () => {
    const code = await during({}, async () => {
      await ship(1);
      for (let i = 0; i < 10; i++) {
        write({ sink: `batch.max_events = ${i + 10}` });
        host.hangUp("reload");
      }
      await until(() => (host.stderr.match(/Took the changed/g) ?? []).length >= 1, "it has taken one");
      await ship(1);
      await Bun.sleep(100);
      expect(host.stderr.match(ANSWERS)!.length).toBeLessThanOrEqual(3);
      expect(await reload()).toContain("nothing has changed");
    });
    expect(code).toBe(0);
  });
});

describe("what cannot take over changes nothing", () => {
  test("an invalid configuration: in the log whole, on /health until a valid one was taken", async () => {
    const top = 'api.address = "127.0.0.1:0"';
    const code = await during({ top }, async () => {
      await ship(2);
      write({ top, sink: "bath.max_events = 1\nacks = 7" });
      await reload();
      const [entry] = host.logged("error");
      expect(entry!.message).toMatch(
        /^Cannot take the changed configuration over, everything goes on as before: .*2 errors, the first: /,
      );
      expect(entry).toMatchObject({ hint: `shipper validate --config ${configPath()}` });
      expect(entry!["details"]).toContain("bath.max_events");
      expect(entry!["details"]).toContain("Found 2 errors");
      const { status, text } = await get("/health");
      expect(status).toBe(200);
      expect(JSON.parse(text)).toMatchObject({
        status: "ok",
        configuration: { state: "rejected", last_reload: { result: "invalid" } },
      });
      expect((await get("/metrics")).text).toContain("shipper_config_last_reload_success 0");
      await ship(2);
      write({ top });
      await reload();
      expect(JSON.parse((await get("/health")).text)).toMatchObject({ configuration: { state: "current" } });
      expect((await get("/metrics")).text).toContain("shipper_config_last_reload_success 1");
    });
    expect(code).toBe(0);
  });

  for (
    const [what, text, message] of [
      [
        "data_dir",
        { top: 'data_dir = "/tmp/other"' },
        /option \\"data_dir\\" \(.*config.toml:3\) cannot change/,
      ],
      [
        "rescue_max_size",
        { top: 'rescue_max_size = "1MiB"' },
        /option \\"rescue_max_size\\" \(.*:3\) cannot change/,
      ],
      [
        "stdin",
        { more: '[sources.in]\ntype = "stdin"\n[sinks.c]\ntype = "console"\ninputs = ["in"]' },
        /reads stdin/,
      ],
      ["a host that is not this one's", { top: 'api.address = "192.0.2.1:1"' }, /Cannot listen at/],
    ] as const
  ) {
    test(`${what}: refused as a whole, with what to do`, async () => {
      const code = await during({}, async () => {
        await ship(1);
        write({ ...text, sink: "batch.max_events = 3" });
        expect(await reload()).toMatch(message);
        await ship(1);
        write({});
        expect(await reload()).toContain("nothing has changed");
      });
      expect(code).toBe(0);
    });
  }

  test("an address that another process has: nothing changes; the same port on another address is no problem", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const code = await during({ top: 'api.address = "127.0.0.1:0"' }, async () => {
      write({ top: `api.address = "127.0.0.1:${port}"`, sink: "batch.max_events = 3" });
      expect(await reload()).toContain("another process listens there");
      expect((await get("/health")).text).toContain("rejected");
      server.close();
      await new Promise((resolve) => server.once("close", resolve));
      expect(await reload()).toContain("Took");
      write({ top: `api.address = "0.0.0.0:${port}"`, sink: "batch.max_events = 3" });
      expect(await reload()).toContain(`Listening on 0.0.0.0:${port}`);
      await ship(1);
    });
    expect(code).toBe(0);
  });

  test("a file that was deleted and is in its reader alone: what takes it from there is refused", async () => {
    const top = "rescue_max_size = 0\nshutdown_timeout_secs = 0.2";
    const sink = "buffer.max_events = 1\nbatch.max_events = 1";
    const code = await during({ top, sink }, async () => {
      await ship(1);
      kafka.fault = () => ({ delayMs: 1_000 });
      for (let i = 0; i < 9; i++) appendFileSync(dir.file("app.log"), `gone ${i}\n`);
      await until(() => kafka.attempts.length > 1, "something is in flight");
      unlinkSync(dir.file("app.log"));
      // Only somebody who looked has seen it.
      await Bun.sleep(200);
      write({ top, sink: `${sink}\ncompression = "lz4"` });
      expect(await reload()).toContain("was deleted, and what is not delivered of it is not copied");
      kafka.fault = () => undefined;
      await until(() => kafka.values().includes("gone 8"), "it is delivered");
      expect(await reload()).toContain("Took");
    });
    expect(code).toBe(0);
  });

  test("a journal that is opened for less than a sink wants now", async () => {
    const code = await during({ sink: 'durability = "process"' }, async () => {
      write({ sink: 'durability = "machine"' });
      expect(await reload()).toContain('the journal was opened for \\"process\\" at the start');
      await ship(1);
    });
    expect(code).toBe(0);
  });
});

describe("what fails after the old parts have ended", () => {
  const DISK = 'buffer = { type = "disk", max_size = "1MiB" }';

  test("a disk buffer that cannot be opened: the sink goes on as it was, and that is said", async () => {
    const top = 'api.address = "127.0.0.1:0"';
    const code = await during({ top }, async () => {
      await ship(2);
      mkdirSync(dir.file("data/buffer"), { recursive: true });
      writeFileSync(dir.file("data/buffer/events"), "no folder");
      write({ top, sink: DISK });
      const log = await reload();
      expect(log).toContain('Cannot start sink \\"events\\" in its changed form, it goes on as it was: ');
      expect(JSON.parse((await get("/health")).text)).toMatchObject({
        configuration: { state: "partly", last_reload: { result: "partly" } },
      });
      await ship(2);
      renameSync(dir.file("data/buffer/events"), dir.file("away"));
      expect(await reload()).toContain("Took");
      expect(JSON.parse((await get("/health")).text)).toMatchObject({ configuration: { state: "current" } });
      await ship(2);
    });
    expect(code).toBe(0);
    expect(kafka.values()).toHaveLength(6);
  });

  test("and where it cannot go on as it was either, shipper ends with 1", async () => {
    const run = host.run(write({ sink: DISK }));
    await until(() => host.stderr.includes("Started"), "it has started");
    await ship(2);
    renameSync(dir.file("data/buffer/events"), dir.file("away"));
    writeFileSync(dir.file("data/buffer/events"), "no folder");
    write({ sink: 'buffer = { type = "disk", max_size = "2MiB" }' });
    host.hangUp("reload");
    expect(await run).toBe(1);
    expect(host.stderr).toContain("Cannot open the disk buffer of sink");
  });
});

describe("SIGHUP", () => {
  test("before it has started: the configuration is read again when it has", async () => {
    const run = host.run(write());
    host.hangUp("reload");
    await until(() => host.stderr.includes("nothing has changed"), "it was read again");
    host.signal("SIGTERM");
    expect(await run).toBe(0);
  });

  test("of a terminal that hangs up stops; where nohup has it ignored, nothing happens", async () => {
    const run = host.run(write());
    await until(() => host.stderr.includes("Started"), "it has started");
    host.hangUp("nothing");
    await ship(2);
    host.hangUp("stop");
    expect(await run).toBe(0);
    expect(host.stderr).toContain("Stopping on SIGHUP");
    expect(host.exitCodes).toEqual([]);
  });

  test("while stopping, or under --once, nothing is read again", async () => {
    kafka.fault = () => ({ delayMs: 200 });
    appendFileSync(dir.file("app.log"), "one\n");
    const run = host.run(write());
    await until(() => kafka.attempts.length > 0, "something is in flight");
    host.signal("SIGTERM");
    host.hangUp("reload");
    expect(await run).toBe(0);
    expect(host.stderr).toContain("is not read again: shipper is stopping");
    expect(host.stderr).not.toMatch(ANSWERS);

    const once = new FakeProcess();
    appendFileSync(dir.file("app.log"), "two\n");
    kafka.fault = () => ({ delayMs: 200 });
    const second = once.run(write({ top: "watch_config = true" }), { once: true });
    await until(() => once.stderr.includes("Started"), "it has started");
    once.hangUp("reload");
    expect(await second).toBe(0);
    expect(once.stderr).toContain("is not watched: --once reads it once");
    expect(once.stderr).toContain("is not read again: --once reads it once");
  });

  test("a signal to stop during a reload wins", async () => {
    const run = host.run(write({ top: "shutdown_timeout_secs = 0.3" }));
    await until(() => host.stderr.includes("Started"), "it has started");
    kafka.fault = () => ({ kind: "silence" });
    appendFileSync(dir.file("app.log"), "held\n");
    await until(() => kafka.attempts.length > 0, "something is in flight");
    write({ top: "shutdown_timeout_secs = 0.3", sink: "batch.max_events = 4" });
    host.hangUp("reload");
    await Bun.sleep(30);
    host.signal("SIGTERM");
    expect(await run).toBe(0);
    kafka.fault = () => undefined;
    expect(await new FakeProcess().run(write(), { once: true })).toBe(0);
    expect(kafka.values()).toEqual(["held"]);
  });
});

test("watch_config: a changed file is taken over by itself, a secret's file too", async () => {
  writeFileSync(dir.file("password"), "one");
  const sasl = `sasl = { enabled = true, mechanism = "PLAIN", username = "u", password = { file = ${
    JSON.stringify(dir.file("password"))
  } } }`;
  const top = "watch_config = true";
  const code = await during({ top }, async () => {
    await ship(1);
    write({ top, sink: "batch.max_events = 3" });
    await until(() => host.stderr.includes("Took the changed configuration over"), "it was taken over");
    await ship(1);
    write({ top, more: `[sinks.secret]\ntype = "console"\ninputs = ["app"]\ntarget = "stderr"` });
    await until(() => (host.stderr.match(/Took the changed/g) ?? []).length === 2, "and again");
    write({ top, sink: sasl });
    await until(() => (host.stderr.match(/Took the changed/g) ?? []).length === 3, "with a secret");
    writeFileSync(dir.file("password"), "two");
    await until(() => (host.stderr.match(/Took the changed/g) ?? []).length === 4, "the secret has changed");
    expect(host.stderr).not.toContain('"two"');
    write({ top });
    await until(() => (host.stderr.match(/Took the changed/g) ?? []).length === 5, "without it");
    await ship(1);
  });
  expect(code).toBe(0);
});
