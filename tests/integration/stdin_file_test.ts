import { beforeAll, expect, test } from "bun:test";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { QUICK } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, stdinToKafka } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// `shipper < FILE`: a file that happens to be on stdin is no pipe. It can be read again.

/** Runs its arguments with the file on stdin. */
const withInput = (file: string) => ["sh", "-c", `exec "$@" < '${file}'`, "sh"];

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

const DISK = `buffer.type = "disk"\nbuffer.max_size = "64MiB"\n`;

for (
  const [crashAt, buffer] of [
    ["after_intent_fsync:3", ""],
    ["after_send:2", ""],
    ["after_ack:2", ""],
    ["random", ""],
    ["before_buffer_commit:3", DISK],
    ["after_buffer_commit:3", DISK],
    ["random", DISK],
  ] as const
) {
  test(
    `shipper < file, ${
      buffer === "" ? "" : "with a disk buffer, "
    }killed (${crashAt}) and started again: exactly once, and then what was appended`,
    async () => {
      await using dir = tempDir("stdin-file");
      const topic = await kafka.createTopic({ partitions: 3 });
      const writer = new OracleWriter("stdin-file", "in");
      const file = dir.file("in");
      writer.append(file, 40_000);
      const sink = `${buffer}batch.max_bytes = 50000`;
      const config = stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
      const wrapper = withInput(file);
      if (crashAt === "random") {
        await using shipper = startShipper({ config, wrapper });
        await waitUntil("it ships", async () => await kafka.countRecords(topic) > 0, { pollMs: 5 });
        await shipper.kill();
      } else {
        expect(await runShipper({ config, wrapper, crashAt })).toMatchObject({ signal: "SIGKILL" });
      }
      const again = await runShipper({ config, wrapper, testBuild: true, env: QUICK });
      expect(again).toMatchObject({ code: 0 });
      expect(again.stderr).not.toContain("lost with the process");
      await expectExactly(kafka, topic, [writer]);
      const { value } = (await kafka.readTopic(topic))[0]!;
      expect(String(value)).not.toContain("source_type");

      expect(await runShipper({ config, wrapper })).toMatchObject({ code: 0 });
      writer.append(file, 100);
      expect(await runShipper({ config, wrapper })).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, [writer]);
    },
    120_000,
  );
}

test(
  "shipper < file with JSON: source_type is stdin without a file, also in a batch that is made again",
  async () => {
    await using dir = tempDir("stdin-json");
    const topic = await kafka.createTopic();
    const file = dir.file("in");
    writeFileSync(file, "one\ntwo\n");
    const sink = `encoding.codec = "json"`;
    const config = stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
    const wrapper = withInput(file);
    expect(await runShipper({ config, wrapper, crashAt: "after_intent_fsync" })).toMatchObject({
      signal: "SIGKILL",
    });
    // The batch in doubt is made again from the file itself, though stdin is another one now.
    writeFileSync(dir.file("other"), "three\n");
    const other = { config, wrapper: withInput(dir.file("other")), testBuild: true, env: QUICK };
    expect(await runShipper(other)).toMatchObject({ code: 0 });
    const events = (await kafka.readTopic(topic)).map(({ value }) => JSON.parse(String(value)));
    expect(events.map((event) => event.message).sort()).toEqual(["one", "three", "two"]);
    for (const event of events) {
      expect(event.source_type).toBe("stdin");
      expect(event).not.toHaveProperty("file");
    }
  },
  120_000,
);

test(
  "shipper < file with the broker away, SIGTERM: nothing is called lost, and the next run delivers",
  async () => {
    await using dir = tempDir("stdin-away");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("stdin-away", "in");
    const file = dir.file("in");
    writer.append(file, 5_000);
    const config = stdinToKafka(dir, {
      bootstrap: proxy.address,
      topic,
      top: "shutdown_timeout_secs = 1",
    });
    const wrapper = withInput(file);
    proxy.setFault({ stall: ["request"] });
    await using shipper = startShipper({ config, wrapper });
    await shipper.waitForLog(/Started shipper/);
    await Bun.sleep(500);
    shipper.signal("SIGTERM");
    const exit = await shipper.waitForExit();
    expect(exit).toMatchObject({ code: 0 });
    expect(exit.stderr).not.toContain("Lost");
    proxy.heal();
    expect(await runShipper({ config, wrapper })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, [writer]);
  },
  120_000,
);

test(
  "shipper < file, the file replaced by other content under its name: all of that, and nothing again",
  async () => {
    await using dir = tempDir("stdin-replaced");
    const topic = await kafka.createTopic();
    const [first, second] = ["first", "second"].map((name) => new OracleWriter("stdin-replaced", name)) as [
      OracleWriter,
      OracleWriter,
    ];
    const file = dir.file("in");
    first.append(file, 2_000);
    const config = stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    const wrapper = withInput(file);
    expect(await runShipper({ config, wrapper })).toMatchObject({ code: 0 });
    second.append(dir.file("new"), 1_000);
    renameSync(dir.file("new"), file);
    expect(await runShipper({ config, wrapper })).toMatchObject({ code: 0 });
    writeFileSync(file, readFileSync(file) + second.lines(500));
    expect(await runShipper({ config, wrapper })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, [first, second]);
  },
  120_000,
);
