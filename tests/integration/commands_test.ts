import { beforeAll, describe, expect, test } from "bun:test";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, shipperBinary, startShipper } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { storedPosition } from "../support/stored_position.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

describe("--dry-run", () => {
  test("prints what would be sent, sends nothing and stores nothing", async () => {
    await using dir = tempDir("dry");
    const topic = await kafka.createTopic();
    writeFileSync(dir.file("app.log"), '{"user":"u1","message":"one"}\n{"message":"two \\"quoted\\""}\n');
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      source: 'decoding.codec = "json"',
      sink: 'key_field = "user"',
    });
    const exit = await runShipper({ config, args: ["--dry-run"] });
    expect(exit.code).toBe(0);
    expect(exit.stdout).toBe(
      `sink=out topic=${topic} partition=by-key key="u1" value="one"\n` +
        `sink=out topic=${topic} partition=sticky key="" value="two \\"quoted\\""\n`,
    );
    expect(await kafka.countRecords(topic)).toBe(0);
    expect(existsSync(dir.file("data"))).toBe(false);
  });

  test("needs no broker, and leaves the positions of an earlier run alone", async () => {
    await using dir = tempDir("dry");
    const topic = await kafka.createTopic();
    writeFileSync(dir.file("app.log"), "one\ntwo\n");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    const journal = () => readdirSync(dir.file("data", "journal")).sort();
    const stored = journal();
    const position = storedPosition(dir.file("data"), "in", "out");
    const unreachable = filesToKafka(dir, { bootstrap: "127.0.0.1:1", topic });
    const exit = await runShipper({ config: unreachable, args: ["--dry-run"] });
    expect(exit).toMatchObject({ code: 0 });
    expect(exit.stdout.split("\n")).toHaveLength(3);
    expect(exit.stderr).not.toContain("Health check");
    expect(journal()).toEqual(stored);
    expect(storedPosition(dir.file("data"), "in", "out")).toBe(position);
  });

  test("says in one sentence when its reader has seen enough", async () => {
    await using dir = tempDir("dry");
    writeFileSync(dir.file("app.log"), "a line of some length\n".repeat(50_000));
    writeFileSync(dir.file("c.toml"), filesToKafka(dir, { bootstrap: "127.0.0.1:1", topic: "t" }));
    const head = Bun.spawnSync([
      "sh",
      "-c",
      `"$0" --config "$1" --dry-run 2>"$2" | head -n 2`,
      shipperBinary(),
      dir.file("c.toml"),
      dir.file("err"),
    ]);
    expect(head.stdout.toString().split("\n")).toHaveLength(3);
    const err = readFileSync(dir.file("err"), "utf8");
    expect(err).toContain("Cannot write to the standard output: nobody reads it any more (EPIPE)");
    expect(err).not.toMatch(/ {4}at |"level":"error"/);
  });
});

describe("--once on a terminal", () => {
  const name = "shows how far it is, and leaves the line empty at the end";
  testIf(process.platform === "linux", "needs Linux", name, async () => {
    await using dir = tempDir("progress");
    const topic = await kafka.createTopic({ partitions: 3 });
    const writer = new OracleWriter("progress", "app.log");
    writer.append(dir.file("app.log"), 300_000);
    const config = dir.file("c.toml");
    // Without compression, and one small batch at a time, so that it takes longer than the bar's first update.
    const sink = "batch.max_events = 500\nmax_in_flight = 1";
    writeFileSync(config, filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink }));
    const command = `stty cols 100; timeout 20 '${shipperBinary()}' --config '${config}' --once`;
    const child = Bun.spawn(["script", "-qec", command, "/dev/null"], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const shown = await new Response(child.stdout).text();
    expect(await child.exited).toBe(0);
    expect(shown).toMatch(/\[=*>? *\] +\d+ %/);
    expect(shown).toMatch(/\d+ events/);
    const updates = shown.split("\r").filter((part) => part.includes("%"));
    for (const update of updates) {
      expect(Bun.stripANSI(update.split("\n")[0]!).length).toBeLessThanOrEqual(100);
    }
    expect(shown.trimEnd()).toMatch(/Stopped/);
    await expectExactly(kafka, topic, [writer]);
  }, 90_000);

  test("not without a terminal", async () => {
    await using dir = tempDir("progress");
    const topic = await kafka.createTopic();
    new OracleWriter("progress", "app.log").append(dir.file("app.log"), 50_000);
    const exit = await runShipper({
      config: filesToKafka(dir, { bootstrap: kafka.bootstrap, topic }),
      args: ["--once"],
    });
    expect(exit.code).toBe(0);
    for (const part of [" %", "\r", "\x1b"]) expect(exit.stderr).not.toContain(part);
  });
});

describe("validate", () => {
  test("a good configuration is 0 and one line; a broker is not needed, and nothing is made", async () => {
    await using dir = tempDir("validate");
    const path = dir.file("c.toml");
    writeFileSync(path, filesToKafka(dir, { bootstrap: "127.0.0.1:1", topic: "t" }));
    const exit = await runShipper({ args: ["validate", "--config", path] });
    expect(exit).toMatchObject({ code: 0, stderr: "" });
    expect(exit.stdout).toBe(`The configuration in ${path} is valid: 1 source, 1 sink\n`);
    expect(existsSync(dir.file("data"))).toBe(false);
  });

  test("a wrong one is 78, with the place of every problem", async () => {
    await using dir = tempDir("validate");
    const path = dir.file("c.toml");
    writeFileSync(
      path,
      `data_dir = "/tmp/x"\n[sources.in]\ntype = "file"\ninclud = ["/x"]\n[sinks.out]\ntype = "kafka"\ninputs = ["inn"]\n` +
        `bootstrap_servers = "b:9092"\ntopic = "t"\ncompression = "lz5"\n`,
    );
    const exit = await runShipper({ args: ["validate", "--config", path] });
    expect(exit).toMatchObject({ code: 78, stdout: "" });
    for (const part of [`${path}:4:`, `${path}:7:`, `${path}:10:`, "include", "lz4"]) {
      expect(exit.stderr).toContain(part);
    }
  });
});

test("a restart inside a line that was cut skips the rest of that line", async () => {
  await using dir = tempDir("cut");
  const topic = await kafka.createTopic();
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, source: "max_line_bytes = 1000" });
  writeFileSync(dir.file("app.log"), "first\n" + "x".repeat(5_000));
  for (
    const [more, count] of [["y".repeat(3_000), 2], ["z\nnext\n" + "w".repeat(1_500), 4], [
      "w\nlast\n",
      5,
    ]] as const
  ) {
    await using shipper = startShipper({ config });
    await waitUntil(
      "what is there was shipped",
      async () => await kafka.countRecords(topic) >= Math.min(count, 2),
    );
    appendFileSync(dir.file("app.log"), more);
    await waitUntil(`${count} records`, async () => await kafka.countRecords(topic) >= count);
    await Bun.sleep(50);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  }
  const values = (await kafka.readTopic(topic)).map((record) => String(record.value));
  expect(values).toEqual(["first", "x".repeat(1_000), "next", "w".repeat(1_000), "last"]);
}, 90_000);
