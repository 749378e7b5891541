import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { auditStored } from "../../src/cli/stored_audit.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { kernelHost } from "../../src/kafka/kernels.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { FakeProcess } from "./fake_process.ts";
import { ANSWERS, ReloadBench } from "./reload_harness.ts";

let bench: ReloadBench;
beforeEach(async () => {
  bench = await ReloadBench.start();
});
afterEach(() => bench[Symbol.asyncDispose]());

describe("what is the same goes on", () => {
  test("nothing has changed: nothing is done, and it is said", async () => {
    const code = await bench.during({}, async () => {
      await bench.ship(3);
      const connections = bench.kafka.brokers[0]!.connectionsCount;
      expect(await bench.reload()).toContain("Read the configuration again: nothing has changed");
      await bench.ship(3);
      expect(bench.kafka.brokers[0]!.connectionsCount).toBe(connections);
    });
    expect(code).toBe(0);
  });

  test("only the log, the API and the time for stopping: sources and sinks go on untouched", async () => {
    const code = await bench.during({ top: 'api.address = "127.0.0.1:0"' }, async () => {
      await bench.ship(3);
      bench.write({ top: 'log.level = "debug"\nshutdown_timeout_secs = 3\nwatch_config = true' });
      const log = await bench.reload();
      expect(log).toContain(
        "changed: api.address, log.level, shutdown_timeout_secs, watch_config; all sources and sinks go on untouched",
      );
      await expect(bench.get("/health")).rejects.toThrow();
      await bench.ship(3);
    });
    expect(code).toBe(0);
    expect(bench.host.stderr).toContain("is delivered within 3 s");
  });
});

describe("what has changed starts anew, without losing or repeating a line", () => {
  test("a sink goes to another topic, a source gets other files, another sink comes and goes", async () => {
    const other = `[sinks.copy]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(bench.kafka.bootstrapServers)}
topic = "more"`;
    const code = await bench.during({}, async () => {
      await bench.ship(5);
      bench.write({ more: other });
      expect(await bench.reload()).toContain(
        'added: sink \\"copy\\"; restarted: source \\"app\\"; untouched: sink \\"events\\"',
      );
      await until(() => bench.kafka.log("more", 0).values.length === 5, "the new sink has what was there");
      bench.write({ sink: "batch.max_events = 2" });
      expect(await bench.reload()).toContain(
        'restarted: source \\"app\\", sink \\"events\\"; removed: sink \\"copy\\"',
      );
      await bench.ship(5);
      bench.write({
        source: `exclude = [${JSON.stringify(bench.dir.file("app.log"))}]`,
        sink: "batch.max_events = 2",
      });
      expect(await bench.reload()).toContain('restarted: source \\"app\\"; untouched: sink \\"events\\"');
      appendFileSync(bench.dir.file("b.log"), "of another file\n");
      await until(() => bench.kafka.values().includes("of another file"), "the other file is read");
      bench.write({ sink: "batch.max_events = 2" });
      await bench.reload();
      await bench.ship(1);
    });
    expect(code).toBe(0);
    const values = bench.kafka.log("logs", 0).values;
    expect(new Set(values).size).toBe(values.length);
    expect(values).toHaveLength(12);
    expect(bench.kafka.log("more", 0).values).toHaveLength(5);
    expect(auditStored(readJournal(bench.dir.file("data")), bench.dir.file("data")).addsUp).toBe(true);
  });

  test('files that come while a source takes over are not "there before" for read_from = "end"', async () => {
    appendFileSync(bench.dir.file("old.log"), "old\n");
    const code = await bench.during({ source: 'read_from = "end"' }, async () => {
      await until(
        () => readJournal(bench.dir.file("data")).positions.records("app").length === 1,
        "it is known",
      );
      // The sink needs a moment to end, in which nobody looks at the folder.
      bench.kafka.fault = () => ({ delayMs: 300 });
      appendFileSync(bench.dir.file("old.log"), "held\n");
      await until(() => bench.kafka.attempts.length > 0, "something is in flight");
      bench.write({ source: 'read_from = "end"', sink: "batch.max_events = 9" });
      const done = bench.reload();
      await Bun.sleep(50);
      appendFileSync(bench.dir.file("new.log"), "came meanwhile\n");
      await done;
      bench.kafka.fault = () => undefined;
      await until(() => bench.kafka.values().includes("came meanwhile"), "it is read from its start");
    });
    expect(code).toBe(0);
    expect(bench.kafka.values()).toEqual(["held", "came meanwhile"]);
  });

  test("a sink whose broker does not answer is given up, and its lines are read for the one that comes", async () => {
    const second = await FakeKafka.start(1, { logs: 1 });
    try {
      const code = await bench.during(
        { top: 'shutdown_timeout_secs = 0.2\napi.address = "127.0.0.1:0"' },
        async () => {
          bench.kafka.fault = () => ({ kind: "silence" });
          for (let i = 0; i < 9; i++) appendFileSync(bench.dir.file("app.log"), `held ${i}\n`);
          await until(() => bench.kafka.attempts.length > 0, "something is in flight");
          bench.write({ top: 'shutdown_timeout_secs = 0.2\napi.address = "127.0.0.1:0"' });
          writeFileSync(
            bench.configPath(),
            (await Bun.file(bench.configPath()).text()).replace(
              bench.kafka.bootstrapServers[0]!,
              second.bootstrapServers[0]!,
            ),
          );
          await bench.reload();
          await until(() => second.values().length === 9, "the other cluster has them");
          const { text } = await bench.get("/audit");
          expect(JSON.parse(text)).toMatchObject({ adds_up: true, sinks: [{ sink: "events", left: 0 }] });
        },
      );
      expect(code).toBe(0);
      expect(second.values()).toEqual(Array.from({ length: 9 }, (_, i) => `held ${i}`));
      expect(bench.kafka.values()).toEqual([]);
      expect(bench.host.stderr).not.toContain("the next run reads them");
    } finally {
      await second[Symbol.asyncDispose]();
    }
  });

  test("dead letters: a file that two sinks share goes on for the one that stays", async () => {
    const file = bench.dir.file("letters.jsonl");
    const letters = `dead_letter.file = ${JSON.stringify(file)}`;
    const other = `[sinks.copy]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(bench.kafka.bootstrapServers)}
topic = "more"
${letters}`;
    const kept = () => existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
    bench.kafka.refuse = () => ({ errorCode: ErrorCode.INVALID_RECORD });
    const code = await bench.during({ sink: letters, more: other }, async () => {
      appendFileSync(bench.dir.file("app.log"), "one\n");
      await until(() => kept().length === 2, "both have kept it");
      bench.write({ sink: `${letters}\nbatch.max_events = 3`, more: other });
      expect(await bench.reload()).toContain('untouched: sink \\"copy\\"');
      appendFileSync(bench.dir.file("app.log"), "two\n");
      await until(() => kept().length === 4, "both have kept the next one");
      bench.write({ sink: letters });
      await bench.reload();
      appendFileSync(bench.dir.file("app.log"), "three\n");
      await until(() => kept().length === 5, "the one that is left goes on");
    });
    expect(code).toBe(0);
    expect(new Set(kept().map((line) => JSON.parse(line).id)).size).toBe(5);
  });

  test("the memory of batches that were given up is free again", async () => {
    const { shared } = kernelHost();
    const top = "shutdown_timeout_secs = 0.1";
    const code = await bench.during({ top }, async () => {
      bench.kafka.fault = () => ({ kind: "silence" });
      for (let i = 0; i < 2_000; i++) appendFileSync(bench.dir.file("app.log"), `${"x".repeat(200)} ${i}\n`);
      await until(() => bench.kafka.attempts.length > 0, "something is in flight");
      bench.write({ top, sink: "batch.max_events = 101" });
      await bench.reload();
      const usedBytes = shared.usedBytes;
      for (let round = 0; round < 4; round++) {
        bench.write({ top, sink: `batch.max_events = ${102 + round}` });
        await bench.reload();
      }
      // Each of the rounds has given up a batch with an arena of 1 MiB.
      await until(() => shared.usedBytes <= usedBytes + 2_500_000, "it is given back");
    });
    expect(code).toBe(0);
  }, 60_000);

  test("reloads that are asked for during one are one more, with the newest files", async () => {
    const code = await bench.during({}, async () => {
      await bench.ship(1);
      for (let i = 0; i < 10; i++) {
        bench.write({ sink: `batch.max_events = ${i + 10}` });
        bench.host.hangUp("reload");
      }
      await until(() => (bench.host.stderr.match(/Took the changed/g) ?? []).length >= 1, "it has taken one");
      await bench.ship(1);
      await Bun.sleep(100);
      expect(bench.host.stderr.match(ANSWERS)!.length).toBeLessThanOrEqual(3);
      expect(await bench.reload()).toContain("nothing has changed");
    });
    expect(code).toBe(0);
  });
});

describe("SIGHUP", () => {
  test("before it has started: the configuration is read again when it has", async () => {
    const run = bench.host.run(bench.write());
    bench.host.hangUp("reload");
    await until(() => bench.host.stderr.includes("nothing has changed"), "it was read again");
    bench.host.signal("SIGTERM");
    expect(await run).toBe(0);
  });

  test("of a terminal that hangs up stops; where nohup has it ignored, nothing happens", async () => {
    const run = bench.host.run(bench.write());
    await until(() => bench.host.stderr.includes("Started"), "it has started");
    bench.host.hangUp("nothing");
    await bench.ship(2);
    bench.host.hangUp("stop");
    expect(await run).toBe(0);
    expect(bench.host.stderr).toContain("Stopping on SIGHUP");
    expect(bench.host.exitCodes).toEqual([]);
  });

  test("while stopping, or under --once, nothing is read again", async () => {
    bench.kafka.fault = () => ({ delayMs: 200 });
    appendFileSync(bench.dir.file("app.log"), "one\n");
    const run = bench.host.run(bench.write());
    await until(() => bench.kafka.attempts.length > 0, "something is in flight");
    bench.host.signal("SIGTERM");
    bench.host.hangUp("reload");
    expect(await run).toBe(0);
    expect(bench.host.stderr).toContain("is not read again: shipper is stopping");
    expect(bench.host.stderr).not.toMatch(ANSWERS);

    const once = new FakeProcess();
    appendFileSync(bench.dir.file("app.log"), "two\n");
    bench.kafka.fault = () => ({ delayMs: 200 });
    const second = once.run(bench.write({ top: "watch_config = true" }), { once: true });
    await until(() => once.stderr.includes("Started"), "it has started");
    once.hangUp("reload");
    expect(await second).toBe(0);
    expect(once.stderr).toContain("is not watched: --once reads it once");
    expect(once.stderr).toContain("is not read again: --once reads it once");
  });

  test("a signal to stop during a reload wins", async () => {
    const run = bench.host.run(bench.write({ top: "shutdown_timeout_secs = 0.3" }));
    await until(() => bench.host.stderr.includes("Started"), "it has started");
    bench.kafka.fault = () => ({ kind: "silence" });
    appendFileSync(bench.dir.file("app.log"), "held\n");
    await until(() => bench.kafka.attempts.length > 0, "something is in flight");
    bench.write({ top: "shutdown_timeout_secs = 0.3", sink: "batch.max_events = 4" });
    bench.host.hangUp("reload");
    await Bun.sleep(30);
    bench.host.signal("SIGTERM");
    expect(await run).toBe(0);
    bench.kafka.fault = () => undefined;
    expect(await new FakeProcess().run(bench.write(), { once: true })).toBe(0);
    expect(bench.kafka.values()).toEqual(["held"]);
  });
});

test("watch_config: a changed file is taken over by itself, a secret's file too", async () => {
  writeFileSync(bench.dir.file("password"), "one");
  const sasl = `sasl = { enabled = true, mechanism = "PLAIN", username = "u", password = { file = ${
    JSON.stringify(bench.dir.file("password"))
  } } }`;
  const top = "watch_config = true";
  const code = await bench.during({ top }, async () => {
    await bench.ship(1);
    bench.write({ top, sink: "batch.max_events = 3" });
    await until(() => bench.host.stderr.includes("Took the changed configuration over"), "it was taken over");
    await bench.ship(1);
    bench.write({ top, more: `[sinks.secret]\ntype = "console"\ninputs = ["app"]\ntarget = "stderr"` });
    await until(() => (bench.host.stderr.match(/Took the changed/g) ?? []).length === 2, "and again");
    bench.write({ top, sink: sasl });
    await until(() => (bench.host.stderr.match(/Took the changed/g) ?? []).length === 3, "with a secret");
    writeFileSync(bench.dir.file("password"), "two");
    await until(
      () => (bench.host.stderr.match(/Took the changed/g) ?? []).length === 4,
      "the secret has changed",
    );
    expect(bench.host.stderr).not.toContain('"two"');
    bench.write({ top });
    await until(() => (bench.host.stderr.match(/Took the changed/g) ?? []).length === 5, "without it");
    await bench.ship(1);
  });
  expect(code).toBe(0);
});
