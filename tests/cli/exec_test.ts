import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { FakeProcess } from "./fake_process.ts";

let dir: TempDir;
let kafka: FakeKafka;
let host: FakeProcess;
beforeEach(async () => {
  dir = tempDir("exec");
  kafka = await FakeKafka.start(1, { logs: 1 });
  host = new FakeProcess();
});
afterEach(async () => {
  await kafka[Symbol.asyncDispose]();
  dir.remove();
});

/** Writes a configuration of a stdin source and a Kafka sink, and gives its path. */
function config(bootstrap: string = JSON.stringify(kafka.bootstrapServers), graceSecs = 0.3): string {
  const path = dir.file("config.toml");
  writeFileSync(
    path,
    `data_dir = ${JSON.stringify(dir.file("data"))}
shutdown_timeout_secs = ${graceSecs}
log.format = "json"
[sources.app]
type = "stdin"
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${bootstrap}
topic = "logs"
`,
  );
  return path;
}

const shell = (text: string) => ["sh", "-c", text];
const NOBODY = '"127.0.0.1:1"';
const isReady = () => existsSync(dir.file("ready"));
/** A command that says when it is ready, and counts the signals that it gets in a file and in its exit code. */
const counting = (signal: string) =>
  shell(
    `n=0; trap 'n=$((n+1)); echo $n >${dir.file("count")}' ${signal}; : >${dir.file("ready")}; ` +
      `while ! [ -e ${dir.file("stop")} ]; do sleep 0.01; done; exit $n`,
  );

describe("exit codes", () => {
  test("the command's, when everything was delivered", async () => {
    expect(await host.exec(config(undefined, 20), shell("echo one"))).toBe(0);
    expect(await host.exec(config(undefined, 20), shell("echo one; exit 5"))).toBe(5);
    expect(await host.exec(config(undefined, 20), shell("echo one; kill -TERM $$"))).toBe(143);
  });

  test("1 when the command succeeded and lines were lost; its own when it failed", async () => {
    expect(await host.exec(config(NOBODY), shell("echo one"))).toBe(1);
    expect(host.logged("error").some(({ message }) => message.startsWith("Lost up to 1 events"))).toBe(true);
    expect(await host.exec(config(NOBODY), shell("echo one; exit 5"))).toBe(5);
  });

  test("127 when there is no such command", async () => {
    expect(await host.exec(config(), ["no-such-program"])).toBe(127);
    expect(host.stderr).toContain("error[command-not-found]");
  });

  test("128 + n when a signal came before the command was started, and it never is", async () => {
    using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    const broker = `"127.0.0.1:${silent.port}"`;
    const running = host.exec(config(broker), shell(`: >${dir.file("ready")}`), { requireHealthy: true });
    await until(() => host.stderr.includes("Started shipper"), "it has started");
    host.execSignal("SIGHUP");
    expect(await running).toBe(129);
    expect(isReady()).toBe(false);
  });
});

describe("signals", () => {
  test("reach the command, each one", async () => {
    const running = host.exec(config(), counting("USR1"));
    await until(isReady, "it is ready");
    // One after the other: the same signal is not kept twice.
    for (const count of ["1\n", "2\n", "3\n"]) {
      host.execSignal("SIGUSR1");
      await until(
        () => existsSync(dir.file("count")) && readFileSync(dir.file("count"), "utf8") === count,
        count,
      );
    }
    writeFileSync(dir.file("stop"), "");
    expect(await running).toBe(3);
  });

  test("are not passed on where the terminal has sent them to the command itself", async () => {
    host.isTerminalSender = true;
    const running = host.exec(config(), counting("INT"));
    await until(isReady, "it is ready");
    host.execSignal("SIGINT");
    await Bun.sleep(60);
    writeFileSync(dir.file("stop"), "");
    expect(await running).toBe(0);
    expect(host.exitCodes).toEqual([]);
  });

  test("after the end of the command: the first one waits for delivery as if it had not come, the second does not", async () => {
    const running = host.exec(config(NOBODY), shell("echo one"));
    await until(() => host.stderr.includes("The command ended with exit code 0"), "it has ended");
    host.execSignal("SIGTERM");
    host.execSignal("SIGWINCH");
    expect(host.exitCodes).toEqual([]);
    host.execSignal("SIGINT");
    expect(host.exitCodes).toEqual([130]);
    await running;
  });
});
