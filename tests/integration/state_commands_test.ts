import { beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import type { BufferListing } from "../../src/cli/buffer_ls.ts";
import { JournalFrame } from "../../src/journal/frames.ts";
import type { PositionRow } from "../../src/cli/positions.ts";
import { camelCaseKeys } from "../../src/telemetry/json_keys.ts";
import { faultsEnv } from "../support/file_faults.ts";
import { damageFrame } from "../support/journal_damage.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, expectNothingLost, filesToKafka } from "../support/scenario.ts";
import { runShipper, shipperBinary, type ShipperExit, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";
import { parseExposition, valueOf } from "../telemetry/exposition_parser.ts";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** Runs a command of the binary: `runShipper` puts the configuration in front, which a command does not take there. */
async function command(words: readonly string[], configPath: string): Promise<ShipperExit> {
  return await runShipper({ args: [...words, "--config", configPath] });
}

async function writeConfig(path: string, text: string): Promise<string> {
  await Bun.write(path, text);
  return path;
}

test("positions and audit after kill -9, while the next run goes on, and at its end", async () => {
  await using dir = tempDir("state");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((name) => new OracleWriter("state", name));
  for (const writer of writers) writer.append(dir.file(writer.file), 20_000);
  const socket = dir.file("api.sock");
  const config = filesToKafka(dir, {
    bootstrap: proxy.address,
    topic,
    top: `api.address = "unix:${socket}"`,
    sink: "batch.max_bytes = 50000",
  });
  const path = await writeConfig(dir.file("c.toml"), config);
  proxy.setFault({ delayMs: 30 });
  {
    await using shipper = startShipper({ config });
    await waitUntil("some is delivered", async () => await kafka.countRecords(topic) > 3_000);
    expect((await shipper.kill()).signal).toBe("SIGKILL");
  }
  const shown = await command(["positions", "--json"], path);
  expect(shown).toMatchObject({ code: 0, stderr: "" });
  const rows = (camelCaseKeys(JSON.parse(shown.stdout)) as { positions: PositionRow[] }).positions;
  expect(rows.map(({ path: file, sink, isConfigured }) => [file, sink, isConfigured])).toEqual(
    writers.map(({ file }) => [dir.file(file), "out", true]),
  );
  for (const { position, frontier, sizeBytes } of rows) {
    expect([position <= frontier, frontier <= sizeBytes!]).toEqual([true, true]);
  }
  expect(rows.reduce((sum, { live }) => sum + live.batches, 0)).toBeGreaterThan(0);
  const killed = await command(["audit", "--json"], path);
  expect(JSON.parse(killed.stdout)).toMatchObject({ kind: "journal", adds_up: true });
  expect(killed.code).toBe(0);
  {
    await using shipper = startShipper({ config });
    const before = await kafka.countRecords(topic);
    await waitUntil("more is delivered", async () => await kafka.countRecords(topic) > before + 3_000);
    const live = await command(["audit", "--json"], path);
    expect(live.code).toBe(0);
    expect(JSON.parse(live.stdout)).toMatchObject({ kind: "live", adds_up: true, pid: shipper.pid });
    expect((await command(["audit"], path)).stdout).toContain("It adds up: read = ");
    expect((await command(["positions"], path)).code).toBe(0);
    proxy.heal();
    await waitUntil("all is delivered", async () => await kafka.countRecords(topic) === 40_000);
    const page = parseExposition(await (await fetch("http://localhost/metrics", { unix: socket })).text());
    expect(valueOf(page, "shipper_audit_missing_events", { source: "in", sink: "out" })).toBe(0);
    expect(valueOf(page, "shipper_audit_difference_events", { sink: "out" })).toBe(0);
    expect(valueOf(page, "shipper_journal_failing")).toBe(0);
    expect(valueOf(page, "shipper_journal_commits_total")).toBeGreaterThan(1);
    expect(valueOf(page, "shipper_sink_partitions_in_doubt", { sink: "out" })).toBe(0);
    shipper.signal("SIGTERM");
    const exit = await shipper.waitForExit();
    expect(exit.code).toBe(0);
    expect(exit.stderr).not.toContain("does not add up");
  }
  await expectExactly(kafka, topic, writers);
  const end = JSON.parse((await command(["audit", "--json"], path)).stdout);
  expect(end).toMatchObject({
    kind: "journal",
    adds_up: true,
    sinks: [{ read: 40_000, acknowledged: 40_000, in_flight: 0, difference: 0 }],
  });
}, 120_000);

test("a damaged journal refuses the start, is repaired, and nothing is lost", async () => {
  await using dir = tempDir("repair");
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((name) => new OracleWriter("repair", name));
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: "batch.max_bytes = 20000" });
  const path = await writeConfig(dir.file("c.toml"), config);
  let lineCount = 0;
  {
    await using shipper = startShipper({ config });
    for (let round = 0; round < 8; round++) {
      for (const writer of writers) writer.append(dir.file(writer.file), 500);
      lineCount += 1_000;
      await waitUntil("it is delivered", async () => await kafka.countRecords(topic) === lineCount);
    }
    await shipper.kill();
  }
  const { file, byte } = damageFrame(dir.file("data"), JournalFrame.INTENT, -6);
  for (const writer of writers) writer.append(dir.file(writer.file), 500);
  const refused = await command([], path);
  expect(refused.code).toBe(78);
  expect(refused.stderr).toStartWith(
    `error[journal-damaged]: Cannot use the journal: "${file}" is damaged at byte ${byte}: what was written there is wrong, `,
  );
  expect(refused.stderr).toContain("\n = hint: shipper buffer repair --journal --config FILE ");
  const shown = await command(["positions"], path);
  expect([shown.code, shown.stderr]).toEqual([78, refused.stderr]);
  const repaired = await command(["buffer", "repair", "--journal"], path);
  expect(repaired).toMatchObject({ code: 0, stderr: "" });
  expect(repaired.stdout).toContain("positions of 2 files for 1 sink");
  expect(readdirSync(dir.file("data", "journal")).filter((name) => name.startsWith("damaged-"))).toHaveLength(
    1,
  );
  expect(await command(["--once"], path)).toMatchObject({ code: 0 });
  const { duplicatedCount } = await expectNothingLost(kafka, topic, writers);
  console.log(`${lineCount + 1_000} lines, ${duplicatedCount} sent twice after the repair`);
  expect(duplicatedCount).toBeLessThan(lineCount / 2);
  expect((await command(["audit"], path)).code).toBe(0);
  expect((await command(["buffer", "repair", "--journal"], path)).stdout).toContain(
    "is not damaged: nothing to repair",
  );
}, 120_000);

test(
  "/ready says that the journal cannot be written while it cannot, and what waited is delivered when it can again",
  async () => {
    await using dir = tempDir("unwritable");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("unwritable", "a.log");
    const socket = dir.file("api.sock");
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      top: `api.address = "unix:${socket}"`,
    });
    // Syncs fail for some seconds: each try is one, and the pauses between them double up to 5 s.
    const env = faultsEnv({ op: "sync", path: "journal", error: "EIO", from: 12, count: 8 });
    await using shipper = startShipper({
      config,
      testBuild: true,
      env,
    });
    const ready = async () => {
      const response = await fetch("http://localhost/ready", { unix: socket });
      const body = await response.json() as { sinks: { cause: { code: string; message: string } | null }[] };
      return { status: response.status, body };
    };
    await shipper.waitForLog(/Started/);
    let lineCount = 0;
    const cause = await waitUntil("the journal fails", async () => {
      writer.append(dir.file("a.log"), 1);
      lineCount++;
      const { cause } = (await ready()).body.sinks[0]!;
      return cause?.code === "not-checked" ? null : cause;
    });
    expect(cause.code).toBe("journal-unwritable");
    expect(cause.message).toMatch(
      /^The journal cannot be written \(.*EIO.*\): delivery waits, and writing is tried again$/,
    );
    expect(await (await fetch("http://localhost/", { unix: socket })).text()).toContain(
      "it cannot be written: ",
    );
    await waitUntil("it can be written again", async () => (await ready()).status === 200, {
      timeoutMs: 30_000,
    });
    await waitUntil("all is delivered", async () => await kafka.countRecords(topic) === lineCount);
    shipper.signal("SIGTERM");
    expect((await shipper.waitForExit()).code).toBe(0);
    await expectExactly(kafka, topic, [writer]);
  },
  120_000,
);

test("positions forget is refused while a shipper runs, naming it, and works afterwards", async () => {
  await using dir = tempDir("forget");
  const topic = await kafka.createTopic();
  new OracleWriter("forget", "a.log").append(dir.file("a.log"), 100);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
  const path = await writeConfig(dir.file("c.toml"), config.replace("[sinks.out]", "[sinks.other]"));
  await using shipper = startShipper({ config });
  await waitUntil("it is delivered", async () => await kafka.countRecords(topic) === 100);
  const refused = await command(["positions", "forget", "--sink", "out"], path);
  expect(refused.code).toBe(78);
  expect(refused.stderr).toContain(`error[data-dir-locked]: `);
  expect(refused.stderr).toContain(`process ${shipper.pid} is using it`);
  shipper.signal("SIGTERM");
  expect((await shipper.waitForExit()).code).toBe(0);
  expect(await command(["positions", "forget", "--sink", "out"], path)).toMatchObject({
    code: 0,
    stderr: "",
    stdout: 'Sink "out" has positions in 1 file, 0 B of which are not delivered to it\nForgot sink "out"\n',
  });
  expect((await command(["positions"], path)).stdout).toBe(`Nothing is stored in "${dir.file("data")}"\n`);
}, 90_000);

test(
  "a disk buffer with the broker away: listed, checked, exported, killed, exported again, delivered",
  async () => {
    await using dir = tempDir("buffer");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic({ partitions: 3 });
    const writers = ["a.log", "b.log"].map((name) => new OracleWriter("buffer", name));
    for (const writer of writers) writer.append(dir.file(writer.file), 10_000);
    const config = filesToKafka(dir, {
      bootstrap: proxy.address,
      topic,
      sink: 'buffer.type = "disk"\nbuffer.max_size = "256MiB"',
    });
    const path = await writeConfig(dir.file("c.toml"), config);
    const buffers = async () => {
      const { code, stdout, stderr } = await command(["buffer", "ls", "--json"], path);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return (camelCaseKeys(JSON.parse(stdout)) as { buffers: BufferListing[] }).buffers;
    };
    const wanted = writers.flatMap(({ file }) =>
      readFileSync(dir.file(file), "utf8").split("\n").slice(0, -1)
    ).sort();
    const expectExported = async () => {
      const { code, stdout, stderr } = await command(["buffer", "export", "--sink", "out"], path);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout.split("\n").slice(0, -1).sort()).toEqual(wanted);
    };
    proxy.setFault({ refuse: true });
    {
      await using shipper = startShipper({ config });
      await waitUntil("all is in the buffer", async () => (await buffers())[0]!.events === 20_000);
      const [found] = await buffers();
      expect(found!.files.map(({ file, events }) => [file, events]).sort()).toEqual(
        writers.map(({ file }) => [dir.file(file), 10_000]),
      );
      expect(await command(["buffer", "verify"], path)).toMatchObject({ code: 0, stderr: "" });
      await expectExported();
      const refused = await command(["buffer", "repair", "--sink", "out"], path);
      expect(refused.code).toBe(78);
      expect(refused.stderr).toContain(`process ${shipper.pid} is using it`);
      expect((await shipper.kill()).signal).toBe("SIGKILL");
    }
    await expectExported();
    // A reader that has seen enough is no error.
    const head = spawnSync("sh", [
      "-c",
      `"$0" buffer export --sink out --format json --config "$1" | head -n 1`,
      shipperBinary(),
      path,
    ], {
      encoding: "utf8",
    });
    expect(head.stderr).toBe("");
    expect(JSON.parse(head.stdout)).toMatchObject({ number: 0, source: "in", topic, offset: 0 });
    expect((await command(["audit"], path)).code).toBe(0);
    // Its files are not needed any more.
    for (const writer of writers) rmSync(dir.file(writer.file));
    proxy.heal();
    expect(await command(["--once"], path)).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, writers);
    expect((await buffers())[0]).toMatchObject({ events: 0, fateOpen: 0, files: [], damaged: [] });
    const account = JSON.parse((await command(["audit", "--json"], path)).stdout);
    expect(account).toMatchObject({ adds_up: true, disk_buffers: [{ read: 20_000, acknowledged: 20_000 }] });
  },
  120_000,
);
