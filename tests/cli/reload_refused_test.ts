import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { until } from "../kafka/support.ts";
import { ReloadBench } from "./reload_harness.ts";

let bench: ReloadBench;
beforeEach(async () => {
  bench = await ReloadBench.start();
});
afterEach(() => bench[Symbol.asyncDispose]());

describe("what cannot take over changes nothing", () => {
  test("an invalid configuration: in the log whole, on /health until a valid one was taken", async () => {
    const top = 'api.address = "127.0.0.1:0"';
    const code = await bench.during({ top }, async () => {
      await bench.ship(2);
      bench.write({ top, sink: "bath.max_events = 1\nacks = 7" });
      await bench.reload();
      const [entry] = bench.host.logged("error");
      expect(entry!.message).toMatch(
        /^Cannot take the changed configuration over, everything goes on as before: .*2 errors, the first: /,
      );
      expect(entry).toMatchObject({ hint: `shipper validate --config ${bench.configPath()}` });
      expect(entry!["details"]).toContain("bath.max_events");
      expect(entry!["details"]).toContain("Found 2 errors");
      const { status, text } = await bench.get("/health");
      expect(status).toBe(200);
      expect(JSON.parse(text)).toMatchObject({
        status: "ok",
        configuration: { state: "rejected", last_reload: { result: "invalid" } },
      });
      expect((await bench.get("/metrics")).text).toContain("shipper_config_last_reload_success 0");
      await bench.ship(2);
      bench.write({ top });
      await bench.reload();
      expect(JSON.parse((await bench.get("/health")).text)).toMatchObject({
        configuration: { state: "current" },
      });
      expect((await bench.get("/metrics")).text).toContain("shipper_config_last_reload_success 1");
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
      const code = await bench.during({}, async () => {
        await bench.ship(1);
        bench.write({ ...text, sink: "batch.max_events = 3" });
        expect(await bench.reload()).toMatch(message);
        await bench.ship(1);
        bench.write({});
        expect(await bench.reload()).toContain("nothing has changed");
      });
      expect(code).toBe(0);
    });
  }

  test("an address that another process has: nothing changes; the same port on another address is no problem", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const code = await bench.during({ top: 'api.address = "127.0.0.1:0"' }, async () => {
      bench.write({ top: `api.address = "127.0.0.1:${port}"`, sink: "batch.max_events = 3" });
      expect(await bench.reload()).toContain("another process listens there");
      expect((await bench.get("/health")).text).toContain("rejected");
      server.close();
      await new Promise((resolve) => server.once("close", resolve));
      expect(await bench.reload()).toContain("Took");
      bench.write({ top: `api.address = "0.0.0.0:${port}"`, sink: "batch.max_events = 3" });
      expect(await bench.reload()).toContain(`Listening on 0.0.0.0:${port}`);
      await bench.ship(1);
    });
    expect(code).toBe(0);
  });

  const leave = {
    deleted: (file: string) => unlinkSync(file),
    "moved out of its folder": (file: string) => {
      mkdirSync(bench.dir.file("away.d"));
      renameSync(file, bench.dir.file("away.d/app.log"));
    },
  };
  for (const [how, goAway] of Object.entries(leave)) {
    test(`a file that was ${how} and is in its reader alone: what takes it from there is refused`, () =>
      refuses(goAway));
  }

  const refuses = async (goAway: (file: string) => void) => {
    const top = "rescue_max_size = 0\nshutdown_timeout_secs = 0.2";
    const sink = "buffer.max_events = 1\nbatch.max_events = 1";
    const code = await bench.during({ top, sink }, async () => {
      await bench.ship(1);
      bench.kafka.fault = () => ({ delayMs: 1_000 });
      for (let i = 0; i < 9; i++) appendFileSync(bench.dir.file("app.log"), `gone ${i}\n`);
      await until(() => bench.kafka.attempts.length > 1, "something is in flight");
      goAway(bench.dir.file("app.log"));
      bench.write({ top, sink: `${sink}\ncompression = "lz4"` });
      expect(await bench.reload()).toContain(
        "was deleted or moved away, and what is not delivered of it is not",
      );
      bench.kafka.fault = () => undefined;
      await until(() => bench.kafka.values().includes("gone 8"), "it is delivered");
      expect(await bench.reload()).toContain("Took");
    });
    expect(code).toBe(0);
  };

  test("a journal that is opened for less than a sink wants now", async () => {
    const code = await bench.during({ sink: 'durability = "process"' }, async () => {
      bench.write({ sink: 'durability = "machine"' });
      expect(await bench.reload()).toContain('the journal was opened for \\"process\\" at the start');
      await bench.ship(1);
    });
    expect(code).toBe(0);
  });
});

describe("what fails after the old parts have ended", () => {
  const DISK = 'buffer = { type = "disk", max_size = "1MiB" }';

  test("a disk buffer that cannot be opened: the sink goes on as it was, and that is said", async () => {
    const top = 'api.address = "127.0.0.1:0"';
    const code = await bench.during({ top }, async () => {
      await bench.ship(2);
      mkdirSync(bench.dir.file("data/buffer"), { recursive: true });
      writeFileSync(bench.dir.file("data/buffer/events"), "no folder");
      bench.write({ top, sink: DISK });
      const log = await bench.reload();
      expect(log).toContain('Cannot start sink \\"events\\" in its changed form, it goes on as it was: ');
      expect(JSON.parse((await bench.get("/health")).text)).toMatchObject({
        configuration: { state: "partly", last_reload: { result: "partly" } },
      });
      await bench.ship(2);
      renameSync(bench.dir.file("data/buffer/events"), bench.dir.file("away"));
      expect(await bench.reload()).toContain("Took");
      expect(JSON.parse((await bench.get("/health")).text)).toMatchObject({
        configuration: { state: "current" },
      });
      await bench.ship(2);
    });
    expect(code).toBe(0);
    expect(bench.kafka.values()).toHaveLength(6);
  });

  test("and where it cannot go on as it was either, shipper ends with 1", async () => {
    const run = bench.host.run(bench.write({ sink: DISK }));
    await until(() => bench.host.stderr.includes("Started"), "it has started");
    await bench.ship(2);
    renameSync(bench.dir.file("data/buffer/events"), bench.dir.file("away"));
    writeFileSync(bench.dir.file("data/buffer/events"), "no folder");
    bench.write({ sink: 'buffer = { type = "disk", max_size = "2MiB" }' });
    bench.host.hangUp("reload");
    expect(await run).toBe(1);
    expect(bench.host.stderr).toContain("Cannot open the disk buffer of sink");
  });
});
