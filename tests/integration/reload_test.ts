import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { ask, reload, reloadCount } from "../support/reloading.ts";
import { expectExactly, expectExactlyCommitted, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { type Random, seededRandom } from "../support/seed.ts";
import { startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Another configuration takes over while lines come: none is lost, none comes twice, and the order by file and partition stays.

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** A configuration with one or two sources and sinks; everything in it may change from one reload to the next. */
interface Form {
  readonly batchMaxBytes: number;
  readonly compression: "none" | "lz4" | "gzip";
  readonly include: readonly string[];
  readonly maxLineBytes: number;
  readonly isOnDisk: boolean;
  readonly hasSecondSource: boolean;
  readonly hasSecondSink: boolean;
}

const FULL: Form = {
  batchMaxBytes: 20_000,
  compression: "none",
  include: ["*.log"],
  maxLineBytes: 262_144,
  isOnDisk: false,
  hasSecondSource: true,
  hasSecondSink: true,
};

/** Configurations of files in two folders, to one or two topics. */
class Changing {
  readonly dir: TempDir;
  readonly topics: readonly [string, string];
  form = FULL;

  constructor(dir: TempDir, topics: readonly [string, string]) {
    this.dir = dir;
    this.topics = topics;
    mkdirSync(dir.file("second"));
  }

  text(form: Form = this.form): string {
    const { isOnDisk, hasSecondSource, hasSecondSink } = form;
    const inputs = JSON.stringify(hasSecondSource ? ["in", "second"] : ["in"]);
    const sink = (name: string, topic: string) =>
      `[sinks.${name}]
type = "kafka"
inputs = ${inputs}
bootstrap_servers = "${kafka.bootstrap}"
topic = "${topic}"
retry.interval_ms = 20
retry.max_interval_ms = 200
batch.max_bytes = ${form.batchMaxBytes}
`;
    const source = (name: string, include: readonly string[]) =>
      `[sources.${name}]
type = "file"
include = ${JSON.stringify(include)}
max_line_bytes = ${form.maxLineBytes}
`;
    return `data_dir = ${JSON.stringify(this.dir.file("data"))}
api.address = "127.0.0.1:0"
${source("in", form.include.map((name) => this.dir.file(name)))}
${hasSecondSource ? source("second", [this.dir.file("second/*.log")]) : ""}
${sink("out", this.topics[0])}
compression = "${form.compression}"
${isOnDisk ? 'buffer.type = "disk"\nbuffer.max_size = "16MiB"' : ""}
${hasSecondSink ? sink("other", this.topics[1]) : ""}
`;
  }
}

/** One part of the configuration changes. */
function change(form: Form, random: Random): Form {
  const pick = <T>(...choices: readonly T[]): T => random.pick(choices);
  switch (random.between(0, 7)) {
    case 0:
      return { ...form, batchMaxBytes: pick(2_000, 20_000, 100_000) };
    case 1:
      return { ...form, compression: pick("none", "lz4", "gzip") };
    case 2:
      return { ...form, include: pick(["*.log"], ["a.log", "b.log"], ["[ac].log", "b.log"]) };
    case 3:
      return { ...form, maxLineBytes: pick(1_000, 262_144) };
    case 4:
      return { ...form, isOnDisk: !form.isOnDisk };
    case 5:
      return { ...form, hasSecondSource: !form.hasSecondSource };
    case 6:
      return { ...form, hasSecondSink: !form.hasSecondSink };
    default:
      return form;
  }
}

const ROUNDS = 24;

for (const seedName of ["reloads under load", "reloads under load, killed"]) {
  const isKilled = seedName.includes("killed");
  test.concurrent(
    `${seedName}: nothing lost, nothing twice, all in order`,
    async () => {
      await using dir = tempDir("reload");
      const random = seededRandom(seedName);
      const topics = [await kafka.createTopic({ partitions: 4 }), await kafka.createTopic({ partitions: 2 })];
      const changing = new Changing(dir, topics as [string, string]);
      const names = ["a.log", "b.log", "c.log", "second/d.log"];
      const writers = names.map((name) => new OracleWriter(isKilled ? "reload-kill" : "reload", name));
      for (const writer of writers) writer.append(dir.file(writer.file), 500);
      using load = new SteadyLoad(dir, writers, 3_000);
      let shipper = startShipper({ config: changing.text() });
      try {
        await shipper.waitForLog(/Started shipper/);
        for (let round = 0; round < ROUNDS; round++) {
          changing.form = change(changing.form, random);
          if (random.next() < 0.2) {
            await reload(shipper, `${changing.text()}\n[sinks.broken]\ntype = "kafka"\n`);
          }
          writeFileSync(shipper.configPath, changing.text());
          // Some while another reload is under way.
          if (random.next() < 0.2) shipper.signal("SIGHUP");
          if (random.next() < 0.8) await reload(shipper, changing.text());
          else shipper.signal("SIGHUP");
          await Bun.sleep(random.next() * 60);
          if (isKilled && random.next() < 0.25) {
            await shipper.kill();
            expect(shipper.stderr).not.toContain("does not add up");
            shipper = startShipper({ config: changing.text() });
            await shipper.waitForLog(/Started shipper/);
          }
        }
        await reload(shipper, changing.text(FULL));
        load.stop();
        await Bun.sleep(300);
        shipper.signal("SIGTERM");
        const exit = await shipper.waitForExit();
        expect(exit).toMatchObject({ code: 0 });
        if (!isKilled) expect(exit.stderr).not.toMatch(/"level":"error"(?!.*Cannot take the changed)/);
        shipper = startShipper({ config: changing.text(FULL), args: ["--once"] });
        expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
      } finally {
        await shipper.kill();
      }
      for (const topic of topics) await expectExactly(kafka, topic, writers);
    },
    180_000,
  );
}

const API = 'api.address = "127.0.0.1:0"';
const IMPATIENT = "retry.interval_ms = 20\nretry.max_interval_ms = 200\nbatch.max_bytes = 20000";

for (const buffer of ["memory", "disk"]) {
  const onDisk = buffer === "disk" ? '\nbuffer.type = "disk"\nbuffer.max_size = "16MiB"' : "";
  test(
    `the broker is away while a sink changes (${buffer}): what was in doubt is found out by the new one`,
    async () => {
      await using dir = tempDir("reload-away");
      await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
      const topic = await kafka.createTopic({ partitions: 3 });
      const writers = ["a.log", "b.log"].map((name) => new OracleWriter(`away-${buffer}`, name));
      for (const writer of writers) writer.append(dir.file(writer.file), 1_000);
      const configOf = (more: string) =>
        filesToKafka(dir, {
          bootstrap: proxy.address,
          topic,
          top: `${API}\nshutdown_timeout_secs = 0.5`,
          sink: `${IMPATIENT}${onDisk}\n${more}`,
        });
      using load = new SteadyLoad(dir, writers, 4_000);
      await using shipper = startShipper({ config: configOf("") });
      await shipper.waitForLog(/Started shipper/);
      for (let round = 0; round < 3; round++) {
        await Bun.sleep(300);
        // The answers of what is in flight never come.
        proxy.setFault({ swallow: ["response"] });
        await Bun.sleep(200);
        proxy.setFault({ refuse: true });
        proxy.cut();
        await reload(shipper, configOf(`batch.max_events = ${1_000 + round}`));
        expect(await ask(shipper, "/health")).toContain('"state":"current"');
        proxy.heal();
      }
      load.stop();
      expect(await ask(shipper, "/metrics")).toMatch(/given_back_events_total\{sink="out"\} [1-9]/);
      await waitUntil("all is delivered", async () => {
        const page = await ask(shipper, "/metrics");
        const lags = [...page.matchAll(/^shipper_file_lag_bytes\{.*\} (\d+)$/gmu)];
        // What is read is in the disk buffer, or on its way, until it is delivered.
        const isEmpty = /^shipper_buffer_events\{sink="out"\} 0$/mu.test(page) &&
          /^shipper_sink_in_flight_events\{sink="out"\} 0$/mu.test(page) &&
          /^shipper_sink_partitions_in_doubt\{sink="out"\} 0$/mu.test(page);
        return isEmpty && lags.length === writers.length && lags.every(([, bytes]) => bytes === "0");
      }, { timeoutMs: 40_000 });
      expect(JSON.parse(await ask(shipper, "/audit"))).toMatchObject({ adds_up: true });
      shipper.signal("SIGTERM");
      const exit = await shipper.waitForExit();
      expect(exit).toMatchObject({ code: 0 });
      expect(exit.stderr).not.toContain("the next run reads them");
      await expectExactly(kafka, topic, writers);
    },
    120_000,
  );
}

test("what does not change keeps its connections, and figures go on", async () => {
  await using dir = tempDir("reload-kept");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const [kept, changed] = [
    await kafka.createTopic({ partitions: 1 }),
    await kafka.createTopic({ partitions: 1 }),
  ];
  const writer = new OracleWriter("kept", "a.log");
  const configOf = (more: string) =>
    filesToKafka(dir, { bootstrap: proxy.address, topic: kept, top: API, sink: IMPATIENT }) +
    `[sinks.changed]\ntype = "kafka"\ninputs = ["in"]\nbootstrap_servers = "${kafka.bootstrap}"\ntopic = "${changed}"\n${more}\n`;
  using load = new SteadyLoad(dir, [writer], 2_000);
  await using shipper = startShipper({ config: configOf("") });
  await shipper.waitForLog(/Started shipper/);
  const delivered = async () =>
    Number(
      /shipper_sink_delivered_events_total\{sink="out"\} (\d+)/.exec(await ask(shipper, "/metrics"))![1],
    );
  await waitUntil("it delivers", async () => await delivered() > 1_000);
  const connections = proxy.connectionCount;
  let last = await delivered();
  for (let round = 0; round < 5; round++) {
    await reload(shipper, configOf(`batch.max_events = ${round + 10}`));
    await waitUntil("it goes on", async () => await delivered() > last);
    const now = await delivered();
    expect(now).toBeGreaterThan(last);
    last = now;
  }
  expect(proxy.connectionCount).toBe(connections);
  load.stop();
  await Bun.sleep(300);
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  for (const topic of [kept, changed]) await expectExactly(kafka, topic, [writer]);
}, 120_000);

test("in transactions: sinks that start anew find their positions in Kafka", async () => {
  await using dir = tempDir("reload-transactional");
  const topic = await kafka.createTopic({ partitions: 2 });
  const positions = await kafka.createTopic({ partitions: 1, configs: { "cleanup.policy": "compact" } });
  const writers = ["a.log", "b.log"].map((name) => new OracleWriter("transactions", name));
  const configOf = (more: string) =>
    filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      top: API,
      sink:
        `${IMPATIENT}\ndelivery = "transactional"\nposition_topic = "${positions}"\ncommit_interval_ms = 100\n${more}`,
    });
  using load = new SteadyLoad(dir, writers, 2_000);
  await using shipper = startShipper({ config: configOf("") });
  await shipper.waitForLog(/Started shipper/);
  for (let round = 0; round < 5; round++) {
    await Bun.sleep(400);
    await reload(shipper, configOf(`batch.max_events = ${100 + round}`));
  }
  load.stop();
  await waitUntil("all is delivered", async () => {
    const audit = JSON.parse(await ask(shipper, "/audit"));
    expect(audit).toMatchObject({ adds_up: true });
    return audit.sinks[0].acknowledged === load.count;
  }, { timeoutMs: 40_000 });
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactlyCommitted(kafka, topic, writers);
}, 120_000);

test(
  "--watch-config: written in place, renamed over, and a link that is turned as Kubernetes does",
  async () => {
    await using dir = tempDir("reload-watch");
    const topic = await kafka.createTopic({ partitions: 1 });
    const configOf = (events: number) =>
      filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic,
        top: API,
        sink: `batch.max_events = ${events}`,
      });
    const write = (name: string, text: string) => {
      mkdirSync(dir.file(name), { recursive: true });
      writeFileSync(dir.file(`${name}/shipper.toml`), text);
    };
    write("one", configOf(1));
    write("two", configOf(2));
    symlinkSync("one", dir.file("..data"));
    symlinkSync("..data/shipper.toml", dir.file("shipper.toml"));
    await using shipper = startShipper({ args: ["--config", dir.file("shipper.toml"), "--watch-config"] });
    await shipper.waitForLog(/Started shipper/);
    const taken = (count: number) =>
      waitUntil(`${count} reloads`, async () => await reloadCount(shipper) === count, { timeoutMs: 40_000 });
    symlinkSync("two", dir.file("..data_tmp"));
    renameSync(dir.file("..data_tmp"), dir.file("..data"));
    await taken(1);
    writeFileSync(dir.file("two/shipper.toml"), configOf(3));
    await taken(2);
    writeFileSync(dir.file("two/.shipper.toml.swp"), configOf(4));
    renameSync(dir.file("two/.shipper.toml.swp"), dir.file("two/shipper.toml"));
    await taken(3);
    writeFileSync(dir.file("two/shipper.toml"), "[sinks");
    await taken(4);
    expect(await ask(shipper, "/health")).toContain('"result":"invalid"');
    writeFileSync(dir.file("two/shipper.toml"), configOf(5));
    await taken(5);
    expect(await ask(shipper, "/health")).toContain('"result":"taken"');
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  },
  180_000,
);
