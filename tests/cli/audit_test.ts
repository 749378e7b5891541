import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { audit } from "../../src/cli/audit.ts";
import { originOf } from "../../src/cli/data_dir_origin.ts";
import type { StoredStream } from "../../src/cli/stored_audit.ts";
import { Journal } from "../../src/journal/journal.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { KeptLog } from "../kafka/producer_harness.ts";
import type { LiveAudit } from "../../src/telemetry/audit.ts";
import { camelCaseKeys } from "../../src/telemetry/json_keys.ts";
import { until } from "../kafka/support.ts";
import { DISK, fillBuffer } from "./buffer_harness.ts";
import { FakeProcess } from "./fake_process.ts";
import { StateHarness } from "./state_harness.ts";

async function json(state: StateHarness, config: string) {
  const { code, stdout, stderr } = await state.call(audit, {
    command: "audit",
    configPaths: [config],
    json: true,
  });
  expect(stderr).toBe("");
  const shown = camelCaseKeys(JSON.parse(stdout)) as Pick<LiveAudit, "sinks" | "streams">;
  return { code, ...shown };
}

async function text(state: StateHarness, config: string): Promise<string> {
  return (await state.call(audit, { command: "audit", configPaths: [config], json: false })).stdout;
}

const lines = (count: number) => Array.from({ length: count }, (_, i) => `line ${i}\n`).join("");

test("the journal adds up after runs that delivered, dropped and were cut short", async () => {
  await using state = await StateHarness.start(2);
  const config = state.config(["events"], {
    top: "shutdown_timeout_secs = 0.2",
    sink: "batch.max_events = 10",
  });
  writeFileSync(state.dir.file("a.log"), lines(100));
  writeFileSync(state.dir.file("b.log"), lines(40).replaceAll("line", "other line"));
  // A record that the broker does not take, and a partition that takes nothing.
  let bad: string | null = null;
  state.kafka.refuse = ({ values, partition }) => {
    if (partition === 1) return { errorCode: ErrorCode.NOT_ENOUGH_REPLICAS };
    bad ??= values[3]!;
    return values.includes(bad) ? { errorCode: ErrorCode.INVALID_RECORD } : undefined;
  };
  const host = new FakeProcess();
  const running = host.run(config);
  await until(() => state.kafka.values().length >= 20, "some are delivered");
  host.signal("SIGTERM");
  await running;
  const cut = await json(state, config);
  expect(cut).toMatchObject({ code: 0, kind: "journal", addsUp: true });
  expect(cut.sinks[0].inFlight).toBeGreaterThan(0);
  state.kafka.refuse = () => undefined;
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  const done = await json(state, config);
  expect(done).toMatchObject({
    code: 0,
    addsUp: true,
    sinks: [{
      sink: "events",
      read: 140,
      acknowledged: 139,
      inFlight: 0,
      dropped: { invalid_record: 1 },
      difference: 0,
    }],
  });
  expect(done.streams).toHaveLength(2);
  const shown = await text(state, config);
  expect(shown).toContain(`The journal in "${state.dataDir}", over all runs (without [api]`);
  expect(shown).toMatch(/\(all\) +events +140 +139 +0 +0 +1 invalid_record +0 +0 +0\n/);
  expect(shown).toContain("It adds up: read = acknowledged + in flight + dropped + dead letters + lost\n");
});

test("a journal that contradicts itself is exit code 1, naming the file, the sink and the difference", async () => {
  await using state = await StateHarness.start();
  const config = state.config();
  writeFileSync(state.dir.file("a.log"), lines(10));
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  const journal = await Journal.open({
    dataDir: state.dataDir,
    durability: "process",
    onClonedState: "adopt",
    ...originOf(state.dataDir),
    log: new KeptLog(),
  });
  for (const { ledgers } of journal.positions.entries()) ledgers.get("events")!.totals.deliveredCount -= 3;
  for (const { ledgers } of journal.positions.entries()) ledgers.get("events")!.changed();
  expect(await journal.close(1_000)).toBe(true);
  expect(await json(state, config)).toMatchObject({
    code: 1,
    addsUp: false,
    streams: [{ read: 10, acknowledged: 7, difference: 3 }],
  });
  expect(await text(state, config)).toContain(
    `The account of "${
      state.dir.file("a.log")
    }" for sink "events" does not add up: 3 events are missing (read 10; acknowledged 7 + in flight 0)\n`,
  );
});

test("a running shipper with [api] is asked, and what it has in memory is in the sum", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"], {
    top: `api.address = "unix:${state.dir.file("api.sock")}"\nshutdown_timeout_secs = 0.1`,
    sink: "batch.max_events = 5",
  });
  writeFileSync(state.dir.file("a.log"), lines(50));
  state.kafka.fault = () => state.kafka.values().length >= 10 ? { kind: "silence" } : undefined;
  const host = new FakeProcess();
  const running = host.run(config);
  await until(() => state.kafka.values().length >= 10, "some are delivered");
  await until(() => state.kafka.attempts.length >= 3, "the next batch is in flight");
  const live = await json(state, config);
  expect(live).toMatchObject({
    code: 0,
    kind: "live",
    dataDir: state.dataDir,
    pid: process.pid,
    addsUp: true,
    sinks: [{ read: 50, acknowledged: 10, missing: 0, differences: [] }],
    streams: [{ path: state.dir.file("a.log"), read: 50, acknowledged: 10 }],
  });
  expect(live.sinks[0].inFlight + live.sinks[0].buffered).toBe(40);
  const shown = await text(state, config);
  expect(shown).toContain(
    `The running shipper (process ${process.pid}, version 0.0.0-test), since its start:\n`,
  );
  expect(shown).toContain(
    "It adds up: read = acknowledged + in flight + buffered + dropped + dead letters + lost\n",
  );
  host.signal("SIGTERM");
  await running;
  expect(host.logged("error")).toEqual([]);
  // Nobody answers any more.
  expect(await json(state, config)).toMatchObject({ code: 0, kind: "journal", addsUp: true });
  // The next run takes up what was in doubt: that is in its account, as recovered.
  state.kafka.fault = () => undefined;
  const next = new FakeProcess();
  const again = next.run(config);
  await until(() => state.kafka.values().length === 50, "all is delivered");
  await Bun.sleep(20);
  expect(await json(state, config)).toMatchObject({
    kind: "live",
    addsUp: true,
    sinks: [{ read: 40, recovered: 10, acknowledged: 40, inFlight: 0, buffered: 0 }],
  });
  next.signal("SIGTERM");
  expect(await again).toBe(0);
});

test("a shipper with another data_dir, or another program, is not asked", async () => {
  await using state = await StateHarness.start();
  const answers: [number, string][] = [
    [200, JSON.stringify({ dataDir: "/elsewhere", sinks: [], streams: [], addsUp: false })],
    [200, "no json"],
    [200, "null"],
    [404, "{}"],
  ];
  const server = createServer((_request, response) => {
    const [status, body] = answers.shift()!;
    response.writeHead(status).end(body);
  });
  const socket = state.dir.file("other.sock");
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const config = state.config(["events"], { top: `api.address = "unix:${socket}"` });
  mkdirSync(state.dataDir);
  for (let left = answers.length; left > 0; left--) {
    expect(await json(state, config)).toMatchObject({ code: 0, kind: "journal", streams: [] });
  }
  expect(answers).toEqual([]);
  server.close();
  expect(await text(state, config)).toContain("Nothing is stored\n");
});

test("bytes that were gone before they could be read are listed beside the sum", async () => {
  await using state = await StateHarness.start();
  const config = state.config();
  writeFileSync(state.dir.file("a.log"), lines(10));
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  const journal = await Journal.open({
    dataDir: state.dataDir,
    durability: "process",
    onClonedState: "adopt",
    ...originOf(state.dataDir),
    log: new KeptLog(),
  });
  const { id } = journal.positions.records("app")[0]!;
  journal.positions.lose("app", id, "events", "truncated_unread", 1_234);
  await journal.close(1_000);
  expect(await json(state, config)).toMatchObject({
    code: 0,
    streams: [{ lostBytes: { truncated_unread: 1_234 } }],
  });
  expect(await text(state, config)).toContain(
    "1,234 bytes were gone before they could be read (truncated_unread)\n",
  );
});

test("events in a disk buffer are in a row of their own, and in no sum twice", async () => {
  await using state = await StateHarness.start(2);
  const config = state.config(["events"], {
    top: "shutdown_timeout_secs = 0.2",
    sink: `${DISK}\nbatch.max_events = 10`,
  });
  const away = state.config(["events"], {
    top: "shutdown_timeout_secs = 0.2",
    sink: `${DISK}\nbatch.max_events = 10`,
    isBrokerAway: true,
  });
  writeFileSync(state.dir.file("a.log"), "");
  await fillBuffer(state, away, 0, [60, 40]);
  const all = {
    read: 100,
    acknowledged: 100,
    inFlight: 0,
    buffered: 0,
    dropped: {},
    lost: {},
    difference: 0,
  };
  const waiting = await json(state, config);
  expect(waiting).toMatchObject({
    code: 0,
    addsUp: true,
    streams: [{ source: "app", ...all }],
    sinks: [{ sink: "events", ...all }],
    diskBuffers: [{ source: "(disk buffer)", sink: "events", ...all, acknowledged: 0, buffered: 100 }],
  });
  // A record that the broker does not take, and a partition that takes nothing.
  let bad: string | null = null;
  state.kafka.refuse = ({ values, partition }) => {
    if (partition === 1) return { errorCode: ErrorCode.NOT_ENOUGH_REPLICAS };
    bad ??= values[3]!;
    return values.includes(bad) ? { errorCode: ErrorCode.INVALID_RECORD } : undefined;
  };
  const host = new FakeProcess();
  const running = host.run(config);
  await until(() => state.kafka.values().length >= 20, "some are delivered");
  host.signal("SIGTERM");
  await running;
  const cut = await json(state, config) as Awaited<ReturnType<typeof json>> & { diskBuffers: StoredStream[] };
  expect(cut).toMatchObject({ code: 0, addsUp: true, streams: [{ source: "app", ...all }] });
  const [row] = cut.diskBuffers;
  expect(row).toMatchObject({ read: 100, dropped: { invalid_record: 1 }, lost: {}, difference: 0 });
  // The answer for what has arrived may have been cut off.
  const arrived = state.kafka.values().length;
  expect(row!.acknowledged).toBeLessThanOrEqual(arrived);
  expect(row!.acknowledged + row!.inFlight).toBeGreaterThanOrEqual(arrived);
  expect(row!.acknowledged + row!.inFlight + row!.buffered + 1).toBe(100);
  const shown = await text(state, config);
  expect(shown).toMatch(
    /\(all\) +events +100 +100 +0 +0 +0 +0 +0 +0\n\(disk buffer\) +events +\/\S+\/buffer\/events +100 /,
  );
  expect(shown).toContain('Lines for sink "events" count as acknowledged when they are in its disk buffer. ');
  expect(shown).toContain(
    "It adds up: read = acknowledged + in flight + buffered + dropped + dead letters + lost\n",
  );
  state.kafka.refuse = () => undefined;
  expect(await new FakeProcess().run(config, { once: true })).toBe(0);
  expect(await json(state, config)).toMatchObject({
    code: 0,
    diskBuffers: [{ read: 100, acknowledged: 99, inFlight: 0, buffered: 0, dropped: { invalid_record: 1 } }],
  });
}, 60_000);
