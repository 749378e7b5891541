import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, type PipelineText, stdinToKafka } from "../support/scenario.ts";
import { type Shipper, type ShipperOptions, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const MIB = 1_048_576;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

interface ExecOptions extends Pick<ShipperOptions, "stdin"> {
  readonly flags?: readonly string[];
  /** Default: a stdin source to the topic. */
  readonly config?: string;
}

/** What is not delivered so long after the end of a command is lost: the default is short for a machine that does other work. */
const PATIENT = "shutdown_timeout_secs = 60";

/** `shipper exec` of a shell's text. */
function startExec(
  dir: TempDir,
  pipeline: PipelineText,
  text: string | readonly string[],
  options: ExecOptions = {},
): Shipper {
  writeFileSync(dir.file("exec.toml"), options.config ?? stdinToKafka(dir, { top: PATIENT, ...pipeline }), {
    mode: 0o600,
  });
  const words = typeof text === "string" ? ["sh", "-c", text] : text;
  const args = ["exec", "--config", dir.file("exec.toml"), ...options.flags ?? [], "--", ...words];
  return startShipper({
    args,
    cwd: dir.path,
    ...(options.stdin === undefined ? {} : { stdin: options.stdin }),
  });
}

async function valuesOf(topic: string): Promise<string[]> {
  return (await kafka.readTopic(topic)).map((record) => String(record.value));
}

test("both outputs are shipped, told apart by a field, and the exit code is the command's", async () => {
  await using dir = tempDir("exec");
  const topic = await kafka.createTopic();
  const sink = `encoding.codec = "json"`;
  const text = "echo out; echo err >&2; printf 'no newline'; exit 42";
  await using shipper = startExec(dir, { bootstrap: kafka.bootstrap, topic, sink }, text);
  expect(await shipper.waitForExit()).toMatchObject({ code: 42, signal: null, stdout: "" });
  const events = (await valuesOf(topic)).map((value) => JSON.parse(value));
  const found = events.map(({ message, stream, source_type }) => [message, stream, source_type]);
  expect(found.toSorted()).toEqual([
    ["err", "stderr", "stdin"],
    ["no newline", "stdout", "stdin"],
    ["out", "stdout", "stdin"],
  ]);
}, 90_000);

test("the stream is a field of topics and keys", async () => {
  await using dir = tempDir("exec-stream");
  const topic = await kafka.createTopic();
  await kafka.createTopic({ name: `${topic}-stderr` });
  await kafka.createTopic({ name: `${topic}-stdout` });
  const text = "echo out; echo err >&2";
  const pipeline = { bootstrap: kafka.bootstrap, topic: `${topic}-{{stream}}`, sink: `key_field = "stream"` };
  await using shipper = startExec(dir, pipeline, text);
  expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
  expect(await valuesOf(`${topic}-stdout`)).toEqual(["out"]);
  expect((await kafka.readTopic(`${topic}-stderr`)).map(({ key }) => String(key))).toEqual(["stderr"]);
}, 90_000);

test(
  "10 MiB from each output at once arrive whole and in order, whatever the command does at its end",
  async () => {
    await using dir = tempDir("exec-large");
    const topic = await kafka.createTopic();
    const writers = [new OracleWriter("exec", "stdout"), new OracleWriter("exec", "stderr")];
    for (const writer of writers) {
      let text = "";
      while (text.length < 10 * MIB) text += writer.lines(1_000);
      writeFileSync(dir.file(writer.file), text);
    }
    const text = "cat stdout & cat stderr >&2; wait; kill -KILL $$";
    const sink = `compression = "lz4"`;
    await using shipper = startExec(dir, { bootstrap: kafka.bootstrap, topic, sink }, text);
    expect(await shipper.waitForExit()).toMatchObject({ code: 137, signal: null });
    await expectExactly(kafka, topic, writers);
  },
  120_000,
);

test("the command reads what shipper gets on stdin, and --tee shows what it writes", async () => {
  await using dir = tempDir("exec-tee");
  const topic = await kafka.createTopic();
  const options = { stdin: "one\ntwo\n", flags: ["--tee"] };
  await using shipper = startExec(
    dir,
    { bootstrap: kafka.bootstrap, topic },
    "cat; echo aside >&2",
    options,
  );
  const exit = await shipper.waitForExit();
  expect(exit).toMatchObject({ code: 0, signal: null, stdout: "one\ntwo\n" });
  expect(exit.stderr).toContain("aside\n");
  expect((await valuesOf(topic)).toSorted()).toEqual(["aside", "one", "two"]);
}, 90_000);

test("--tee to a reader that goes away: said, and everything is shipped", async () => {
  await using dir = tempDir("exec-tee-gone");
  const topic = await kafka.createTopic();
  writeFileSync(dir.file("exec.toml"), stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic }));
  await using shipper = startShipper({
    wrapper: ["sh", "-c", '"$@" | head -n 1', "sh"],
    args: ["exec", "--config", dir.file("exec.toml"), "--tee", "--", "seq", "200000"],
  });
  const exit = await shipper.waitForExit();
  expect(exit.stdout).toBe("1\n");
  expect(exit.stderr).toContain("Cannot pass the command's stdout on any further (EPIPE)");
  expect(await kafka.countRecords(topic)).toBe(200_000);
}, 90_000);

describe("signals", () => {
  for (
    const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const
  ) {
    test(`${signal} reaches the command, which may do with it what it likes`, async () => {
      await using dir = tempDir("exec-signal");
      const topic = await kafka.createTopic();
      const name = signal.slice(3);
      const text = `trap 'echo got' ${name}; echo ready; while ! [ -e stop ]; do sleep 0.02; done; exit 9`;
      await using shipper = startExec(dir, { bootstrap: kafka.bootstrap, topic }, text);
      await waitUntil("it is ready", async () => await kafka.countRecords(topic) === 1);
      for (let count = 2; count <= 3; count++) {
        shipper.signal(signal);
        await waitUntil("it got it", async () => await kafka.countRecords(topic) === count);
      }
      expect(shipper.isRunning).toBe(true);
      writeFileSync(dir.file("stop"), "");
      expect(await shipper.waitForExit()).toMatchObject({ code: 9, signal: null });
      expect(await valuesOf(topic)).toEqual(["ready", "got", "got"]);
    }, 90_000);
  }

  test("a command that SIGTERM ends: 143, and what it wrote is there", async () => {
    await using dir = tempDir("exec-term");
    const topic = await kafka.createTopic();
    await using shipper = startExec(dir, { bootstrap: kafka.bootstrap, topic }, "echo ready; exec sleep 60");
    await shipper.waitForLog(/Started the command/);
    await waitUntil("it is ready", async () => await kafka.countRecords(topic) === 1);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit(20_000)).toMatchObject({ code: 143, signal: null });
  }, 90_000);

  test(
    "SIGTERM with the broker away: what is lost is said within the limit, and the exit code is 1 at best",
    async () => {
      await using dir = tempDir("exec-away");
      await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
      const topic = await kafka.createTopic();
      const text = "echo ready; trap 'seq 1000; exit 0' TERM; while :; do sleep 0.02; done";
      const pipeline = { bootstrap: proxy.address, topic, top: "shutdown_timeout_secs = 1" };
      await using shipper = startExec(dir, pipeline, text);
      await waitUntil("it ships", async () => await kafka.countRecords(topic) === 1);
      proxy.setFault({ stall: ["request"] });
      const startMs = performance.now();
      shipper.signal("SIGTERM");
      const exit = await shipper.waitForExit(20_000);
      expect(exit).toMatchObject({ code: 1, signal: null });
      expect(performance.now() - startMs).toBeLessThan(15_000);
      expect(exit.stderr).toContain("Lost up to 1000 events");
    },
    90_000,
  );

  test(
    "the same with the buffer on disk: nothing is lost, the exit code is 0, and the next run delivers it",
    async () => {
      await using dir = tempDir("exec-disk");
      await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
      const topic = await kafka.createTopic();
      const text = "echo ready; trap 'seq 1000; exit 0' TERM; while :; do sleep 0.02; done";
      const sink = 'buffer.type = "disk"\nbuffer.max_size = "16MiB"';
      const pipeline = { bootstrap: proxy.address, topic, top: "shutdown_timeout_secs = 1", sink };
      {
        await using shipper = startExec(dir, pipeline, text);
        await waitUntil("it ships", async () => await kafka.countRecords(topic) === 1);
        proxy.setFault({ stall: ["request"] });
        shipper.signal("SIGTERM");
        expect(await shipper.waitForExit(20_000)).toMatchObject({ code: 0, signal: null });
      }
      proxy.heal();
      await using next = startExec(dir, pipeline, "true");
      expect(await next.waitForExit()).toMatchObject({ code: 0, signal: null });
      const numbers = Array.from({ length: 1_000 }, (_, i) => `${i + 1}`);
      expect(await valuesOf(topic)).toEqual(["ready", ...numbers]);
    },
    90_000,
  );

  test("a second SIGTERM after the end of the command does not wait for the broker", async () => {
    await using dir = tempDir("exec-second");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic();
    const text = "echo ready; trap 'seq 1000; exit 0' TERM; while :; do sleep 0.02; done";
    await using shipper = startExec(dir, { bootstrap: proxy.address, topic }, text);
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 1);
    proxy.setFault({ stall: ["request"] });
    shipper.signal("SIGTERM");
    await shipper.waitForLog(/The command ended with exit code 0/);
    await Bun.sleep(300);
    expect(shipper.isRunning).toBe(true);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit(20_000)).toMatchObject({ code: 143, signal: null });
  }, 90_000);
});

describe("a start that fails", () => {
  async function run(words: readonly string[], options: ExecOptions & Partial<PipelineText> = {}) {
    await using dir = tempDir("exec-start");
    const pipeline = { bootstrap: kafka.bootstrap, topic: await kafka.createTopic(), ...options };
    await using shipper = startExec(dir, pipeline, words, options);
    return { ...await shipper.waitForExit(), hasRun: existsSync(dir.file("ran")) };
  }

  test("no such command: 127", async () => {
    const exit = await run(["no-such-program", "--help"]);
    expect(exit.code).toBe(127);
    expect(exit.stderr).toContain(
      'error[command-not-found]: Cannot start the command "no-such-program": there is no such program (ENOENT)\n = hint: ',
    );
  }, 90_000);

  test("not executable: 126", async () => {
    const exit = await run(["/etc/hostname"]);
    expect(exit.code).toBe(126);
    expect(exit.stderr).toContain("error[command-not-runnable]: ");
  }, 90_000);

  test("no stdin source: 78 with a hint, and the command is not run", async () => {
    const config = `data_dir = "data"
[sources.files]
type = "file"
include = ["*.log"]
[sinks.out]
type = "console"
inputs = ["files"]
`;
    const exit = await run(["touch", "ran"], { config });
    expect(exit).toMatchObject({ code: 78, hasRun: false });
    expect(exit.stderr).toContain(
      `error[no-stdin-source]: Cannot ship the command's output: no source of type "stdin" is an input of a sink`,
    );
  }, 90_000);

  test("--require-healthy with the broker away: 78, and the command is not run", async () => {
    const exit = await run(["touch", "ran"], { flags: ["--require-healthy"], bootstrap: "127.0.0.1:1" });
    expect(exit).toMatchObject({ code: 78, hasRun: false });
  }, 90_000);

  test("--require-healthy with the broker there: the command is run", async () => {
    expect(await run(["touch", "ran"], { flags: ["--require-healthy"] })).toMatchObject({
      code: 0,
      hasRun: true,
    });
  }, 90_000);

  test("SIGTERM while the health is asked for: 143, and the command is not run", async () => {
    await using dir = tempDir("exec-early");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    proxy.setFault({ stall: ["response"] });
    const pipeline = { bootstrap: proxy.address, topic: "any" };
    await using shipper = startExec(dir, pipeline, ["touch", "ran"], { flags: ["--require-healthy"] });
    await shipper.waitForLog(/Started shipper/);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit(20_000)).toMatchObject({ code: 143, signal: null });
    expect(existsSync(dir.file("ran"))).toBe(false);
  }, 90_000);
});

test("a broker that does not answer blocks the command, not memory, and nothing is lost", async () => {
  await using dir = tempDir("exec-block");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic({ configs: { "retention.bytes": "-1" } });
  const writer = new OracleWriter("block", "stdout", 2_000);
  let text = writer.lines(100);
  writeFileSync(dir.file("first"), text);
  text = "";
  while (text.length < 100 * MIB) text += writer.lines(10_000);
  writeFileSync(dir.file("rest"), text);
  const pipeline = {
    bootstrap: proxy.address,
    topic,
    sink: `buffer.max_size = ${8 * MIB}\ncompression = "lz4"`,
  };
  const command = "cat first; while ! [ -e go ]; do sleep 0.02; done; cat rest; echo done >written";
  await using shipper = startExec(dir, pipeline, command);
  await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
  proxy.setFault({ stall: ["request"] });
  writeFileSync(dir.file("go"), "");
  await Bun.sleep(3_000);
  expect(existsSync(dir.file("written"))).toBe(false);
  expect(await shipper.peakRssBytes()).toBeLessThan(250 * MIB);
  proxy.heal();
  expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
  expect(readFileSync(dir.file("written"), "utf8")).toBe("done\n");
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

test("a process that the command leaves behind does not keep shipper", async () => {
  await using dir = tempDir("exec-left");
  const topic = await kafka.createTopic();
  const text = "sleep 60 & echo $!; echo said; exit 3";
  await using shipper = startExec(dir, { bootstrap: kafka.bootstrap, topic }, text);
  const exit = await shipper.waitForExit(20_000);
  const [pid, said] = await valuesOf(topic);
  process.kill(Number(pid));
  expect(exit).toMatchObject({ code: 3, signal: null });
  expect(said).toBe("said");
  expect(exit.stderr).toContain("a process that it left behind keeps its stdout and stderr open");
}, 90_000);

test("kill -9 of shipper: the command's next write fails as on any pipe that nobody reads", async () => {
  await using dir = tempDir("exec-kill");
  const topic = await kafka.createTopic();
  const text = "trap '' PIPE; echo $$; while echo more; do sleep 0.05; done; echo ended >ended";
  await using shipper = startExec(dir, { bootstrap: kafka.bootstrap, topic }, text);
  await waitUntil("it ships", async () => await kafka.countRecords(topic) > 1);
  await shipper.kill();
  await waitUntil("the command saw it", () => existsSync(dir.file("ended")));
}, 90_000);
