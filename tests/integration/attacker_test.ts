import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { freePorts } from "../../scripts/lib/ports.ts";
import { type OwnCluster, ownCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, type Shipper, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";
import { parseExposition } from "../telemetry/exposition_parser.ts";

const CLUSTER_TIMEOUT_MS = 180_000;
const EXIT_CONFIG = 78;
/** Many share the machine. */
const SLOW = { timeoutMs: 60_000 };
/** Root may read everything; without these it is like any user. */
const WITHOUT_RIGHTS = process.getuid?.() === 0
  ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
  : [];
/** What a terminal obeys, a page runs, and a template or format string would fill in. */
const NASTY = "\u001b[2J\u001b]0;owned\u0007\r\u009b31m<script>alert(1)</script>{{host}}%s%n${HOME}\u202e";
// deno-lint-ignore no-control-regex -- they are what is looked for
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/u;

let own: OwnCluster;
let kafka: TestKafka;
beforeAll(async () => {
  own = await ownCluster({ security: "sasl_ssl" });
  kafka = own.kafka;
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

async function pages(port: number): Promise<Record<string, string>> {
  const texts: Record<string, string> = {};
  for (const path of ["/", "/health", "/ready", "/metrics", "/audit"]) {
    texts[path] = await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
  }
  return texts;
}

async function end(shipper: Shipper): Promise<string> {
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  expect(exit.signal).toBeNull();
  return exit.stderr;
}

/** Sends bytes and reads until the server closes, or has been silent for a while. */
function exchange(port: number, bytes: string, silentMs = 1_500): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.setTimeout(silentMs, () => socket.destroy());
    socket.on("connect", () => socket.write(bytes));
    socket.on("data", (data) => text += data.toString("latin1"));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ECONNRESET" && error.code !== "EPIPE") reject(error);
    });
    socket.on("close", () => resolve(text));
  });
}

describe("what stands in a log, or is its name, reaches no terminal, page or metric as it is", () => {
  /** Lines whose topic, key and content are nasty; and a file whose name is. */
  async function nastyShipper(
    dir: TempDir,
    format: string,
  ): Promise<{ config: string; port: number; topic: string }> {
    const topic = await kafka.createTopic();
    const [port] = await freePorts(1);
    const lines = [
      { t: topic, user: NASTY, message: NASTY },
      { t: NASTY, message: "a topic that may not be" },
      { t: "x".repeat(100_000), message: "one that is too long" },
      { message: "no topic" },
      { t: "{{user}}", user: topic, message: "a template in a value" },
    ];
    writeFileSync(
      dir.file(`${NASTY.replaceAll("/", "_")}.log`),
      lines.map((each) => JSON.stringify(each) + "\n").join("") +
        `${NASTY}\n{"t": "${NASTY}\n${"y".repeat(300_000)}\n`,
    );
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic: "{{t}}",
      top: `log = { format = "${format}", level = "debug" }\napi.address = "127.0.0.1:${port}"`,
      source: 'decoding.codec = "json"\n',
      sink: 'key_field = "user"\nencoding.codec = "json"\n',
    });
    return { config, port: port!, topic };
  }

  for (const format of ["json", "pretty"]) {
    test(`log in ${format}, pages and commands`, async () => {
      await using dir = tempDir("nasty");
      const { config, port, topic } = await nastyShipper(dir, format);
      await using shipper = startShipper({ config });
      const [record] = await kafka.waitForRecords(topic, 1);
      // Kafka gets what was written, untouched.
      expect(record!.key!.toString()).toBe(NASTY);
      expect(JSON.parse(record!.value!.toString()).message).toBe(NASTY);
      await waitUntil("all lines are settled", async () => {
        const { sinks: [sink] } = JSON.parse((await pages(port))["/audit"]!);
        return sink.read >= 7 && sink.in_flight === 0 && sink.buffered === 0;
      });
      const texts = await pages(port);
      for (const [path, text] of Object.entries(texts)) {
        expect([path, OBEYED.exec(text)?.[0]]).toEqual([path, undefined]);
      }
      expect(texts["/"]).not.toContain("<script");
      parseExposition(texts["/metrics"]!);
      JSON.parse(texts["/audit"]!);
      writeFileSync(dir.file("c.toml"), config);
      for (const command of [["positions"], ["audit"], ["check"], ["validate"], ["config", "show"]]) {
        const exit = await runShipper({ args: [...command, "--config", dir.file("c.toml")] });
        expect([command, OBEYED.exec(exit.stdout + exit.stderr)?.[0]]).toEqual([command, undefined]);
      }
      const log = await end(shipper);
      expect(OBEYED.exec(log)?.[0]).toBeUndefined();
      // What is said of the configuration stands in front.
      const lines = log.slice(log.indexOf('{"ts"')).trim().split("\n");
      if (format === "json") { for (const line of lines) JSON.parse(line); }
      // Nothing is filled in that came from a line: the value "{{user}}" is no topic, not that of the user.
      expect(await kafka.countRecords(topic)).toBe(1);
    }, 120_000);
  }
});

describe("the HTTP server", () => {
  test("listens on loopback alone, under its own name, for GET and HEAD, with bounded requests", async () => {
    await using dir = tempDir("http");
    const topic = await kafka.createTopic();
    const [port] = await freePorts(1);
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      top: `api.address = "127.0.0.1:${port}"`,
    });
    await using shipper = startShipper({ config });
    await shipper.waitForLog(/API listens|Started shipper/u);
    const ask = (head: string) => exchange(port!, `${head}\r\nConnection: close\r\n\r\n`);
    expect(await ask("GET /health HTTP/1.1\r\nHost: 127.0.0.1")).toStartWith("HTTP/1.1 200");
    const rebound = await ask("GET / HTTP/1.1\r\nHost: evil.example");
    expect(rebound).toStartWith("HTTP/1.1 421");
    expect(rebound).not.toContain("evil.example");
    expect(rebound).not.toContain(dir.path);
    expect(await ask("POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0")).toStartWith(
      "HTTP/1.1 405",
    );
    const large = await ask(`GET /health HTTP/1.1\r\nHost: localhost\r\nX-Large: ${"x".repeat(1_000_000)}`);
    expect(large).not.toStartWith("HTTP/1.1 200");
    expect(await exchange(port!, "\u0000\u0001garbage\r\n\r\n")).not.toStartWith("HTTP/1.1 200");
    await expect(fetch(`http://127.0.0.2:${port}/health`)).rejects.toThrow();
    expect(await ask("GET /health HTTP/1.1\r\nHost: [::1]")).toStartWith("HTTP/1.1 200");
    expect((await end(shipper)).match(/"level":"error"/g)).toBeNull();
  }, 120_000);

  test(
    "whoever holds connections open takes no descriptors from files, nor the server from others",
    async () => {
      await using dir = tempDir("slow-clients");
      const topic = await kafka.createTopic();
      const [port] = await freePorts(1);
      const config = filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic,
        top: `[api]\naddress = "127.0.0.1:${port}"\nmax_connections = 10`,
      });
      // As many as there are without the server's, and a few more.
      const wrapper = ["prlimit", "--nofile=128:128"];
      await using shipper = startShipper({ config, wrapper });
      await shipper.waitForLog(/Started shipper/u);
      const held: Socket[] = [];
      const hold = () => {
        const socket = connect({ host: "127.0.0.1", port: port! });
        socket.on("error", () => {});
        socket.write("GET /health HTTP/1.1\r\nHost: localhost\r\n");
        held.push(socket);
      };
      const drip = setInterval(() => {
        for (const socket of held) if (!socket.destroyed && !socket.connecting) socket.write("x: 1\r\n");
      }, 100);
      const refill = () => {
        held.splice(0, held.length, ...held.filter(({ destroyed }) => !destroyed));
        while (held.length < 200) hold();
      };
      refill();
      // Those that were closed come again.
      const back = setInterval(refill, 3_000);
      try {
        await waitUntil("the server is full", () => shipper.stderr.includes("api.max_connections"), SLOW);
        let count = 0;
        const writers: OracleWriter[] = [];
        for (let i = 0; i < 20; i++) {
          const writer = new OracleWriter("slow-clients", `${i}.log`);
          writer.append(dir.file(writer.file), 10);
          writers.push(writer);
          count += 10;
        }
        await waitUntil("all files are read", async () => await kafka.countRecords(topic) >= count, SLOW);
        expect(readdirSync(`/proc/${shipper.pid}/fd`).length).toBeLessThan(100);
        const isAnswered = async () => {
          const answer = await fetch(`http://127.0.0.1:${port}/health`, {
            signal: AbortSignal.timeout(2_000),
          });
          return answer.status === 200;
        };
        await waitUntil("somebody else is answered", isAnswered, { ...SLOW, pollMs: 100 });
        await expectExactly(kafka, topic, writers);
      } finally {
        clearInterval(drip);
        clearInterval(back);
        for (const socket of held) socket.destroy();
      }
      const log = await end(shipper);
      expect(log).not.toContain("EMFILE");
      expect(log.match(/"level":"error"/g)).toBeNull();
    },
    120_000,
  );

  test("no output holds a secret, also when a login fails", async () => {
    await using dir = tempDir("secrets");
    const secret = "hunter2-is-secret";
    const [port] = await freePorts(1);
    writeFileSync(dir.file("a.log"), "x\n");
    const config = filesToKafka(dir, {
      bootstrap: kafka.listeners.SASL_SSL!,
      topic: "t",
      top: `log.level = "debug"\napi.address = "127.0.0.1:${port}"`,
      sink: `sasl = { enabled = true, mechanism = "PLAIN", username = "admin", password = "${secret}" }\n` +
        `tls = { enabled = true, ca_file = "${kafka.certificates!.ca}" }\n`,
    });
    await using shipper = startShipper({ config, env: { NODE_DEBUG: "tls,net" } });
    await shipper.waitForLog(/it refused SASL PLAIN authentication/u);
    const texts = Object.values(await pages(port!));
    writeFileSync(dir.file("c.toml"), config);
    for (const command of [["positions"], ["audit"], ["check"], ["validate"], ["config", "show"]]) {
      for (const json of [[], ["--json"]]) {
        const { stdout, stderr } = await runShipper({
          args: [...command, ...json, "--config", dir.file("c.toml")],
        });
        texts.push(stdout, stderr);
      }
    }
    texts.push(await end(shipper));
    const encoded = [secret, Buffer.from(secret).toString("base64"), Buffer.from(secret).toString("hex")];
    for (const text of texts) for (const each of encoded) expect(text).not.toContain(each);
  }, 120_000);
});

describe("files in data_dir", () => {
  for (const umask of ["000", "022", "077"]) {
    test(`are for their owner alone under umask ${umask}`, async () => {
      await using dir = tempDir("umask");
      const topic = await kafka.createTopic();
      writeFileSync(dir.file("a.log"), "x\n");
      const config = filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic,
        top: `api.address = "unix:${dir.file("api.sock")}"`,
        sink: 'buffer = { type = "disk", max_size = "32MiB" }\n',
      });
      const wrapper = ["sh", "-c", `umask ${umask}; exec "$@"`, "sh"];
      await using shipper = startShipper({ config, wrapper });
      await kafka.waitForRecords(topic, 1);
      // What is deleted while the broker is away is copied.
      await own.cluster.brokers[0]!.pause();
      try {
        writeFileSync(dir.file("b.log"), "y\n".repeat(1_000));
        await Bun.sleep(1_500);
        renameSync(dir.file("b.log"), join(dir.path, "..", `shipper-attacker-${process.pid}-${umask}`));
        await Bun.sleep(1_500);
      } finally {
        await own.cluster.brokers[0]!.resume();
      }
      const mode = (path: string) => statSync(path).mode & 0o777;
      expect(mode(dir.file("api.sock"))).toBe(0o600);
      expect(mode(dir.file("data"))).toBe(0o700);
      const names = readdirSync(dir.file("data"), { recursive: true, encoding: "utf8" });
      expect(names.some((each) => each.startsWith("journal/"))).toBe(true);
      expect(names.some((each) => each.startsWith("buffer/"))).toBe(true);
      for (const name of names) {
        const path = dir.file("data", name);
        if (!existsSync(path)) continue; // a segment that was done with meanwhile
        expect([name, mode(path)]).toEqual([name, statSync(path).isDirectory() ? 0o700 : 0o600]);
      }
      await kafka.waitForRecords(topic, 1_001);
      await end(shipper);
    }, 180_000);
  }

  test("a link in the place of one is not followed: its target stays as it is", async () => {
    await using dir = tempDir("links");
    const topic = await kafka.createTopic();
    writeFileSync(dir.file("a.log"), "x\n");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    writeFileSync(dir.file("precious"), "precious\n");
    mkdirSync(dir.file("data"), { mode: 0o700 });
    symlinkSync(dir.file("precious"), dir.file("data", "lock"));
    const locked = await runShipper({ config, args: ["--once"] });
    expect(locked.code).toBe(EXIT_CONFIG);
    expect(locked.stderr).toContain("(ELOOP)");
    expect(locked.stderr).toContain('remove the symbolic link "lock" in it');
    expect(readFileSync(dir.file("precious"), "utf8")).toBe("precious\n");
  }, 120_000);

  test("the same for segments of the journal", async () => {
    await using dir = tempDir("links");
    const topic = await kafka.createTopic();
    writeFileSync(dir.file("a.log"), "x\n");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    expect((await runShipper({ config, args: ["--once"] })).code).toBe(0);
    const [segment] = readdirSync(dir.file("data", "journal")).filter((each) =>
      statSync(dir.file("data", "journal", each)).size > 0
    ).sort();
    renameSync(dir.file("data", "journal", segment!), dir.file("elsewhere"));
    const before = readFileSync(dir.file("elsewhere"));
    symlinkSync(dir.file("elsewhere"), dir.file("data", "journal", segment!));
    writeFileSync(dir.file("a.log"), "y\n", { flag: "a" });
    const exit = await runShipper({ config, args: ["--once"] });
    expect(exit.code).toBe(EXIT_CONFIG);
    expect(exit.stderr).toContain("ELOOP");
    expect(readFileSync(dir.file("elsewhere"))).toEqual(before);
  }, 120_000);
});

describe("a log that becomes a link", () => {
  test(
    "to a file that this user may not read: told, not shipped; what was there before is delivered",
    async () => {
      await using dir = tempDir("shadow");
      const topic = await kafka.createTopic();
      writeFileSync(dir.file("shadow"), "root:hash\n");
      chmodSync(dir.file("shadow"), 0);
      writeFileSync(dir.file("a.log"), "one\n");
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
      await using shipper = startShipper({ config, wrapper: WITHOUT_RIGHTS });
      await kafka.waitForRecords(topic, 1);
      symlinkSync(dir.file("shadow"), dir.file("link"));
      renameSync(dir.file("link"), dir.file("a.log"));
      await shipper.waitForLog(/a\.log.*EACCES/u);
      await end(shipper);
      const values = (await kafka.readTopic(topic)).map(({ value }) => value!.toString());
      expect(values.join()).not.toContain("hash");
    },
    120_000,
  );

  test("to one that it may read: shipped, as docs/tailing.md says", async () => {
    await using dir = tempDir("readable");
    const topic = await kafka.createTopic();
    writeFileSync(dir.file("other"), "content\n");
    symlinkSync(dir.file("other"), dir.file("a.log"));
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    expect((await runShipper({ config, args: ["--once"] })).code).toBe(0);
    const [record] = await kafka.readTopic(topic);
    expect(record!.value!.toString()).toContain("content");
    const docs = readFileSync(new URL("../../docs/tailing.md", import.meta.url), "utf8");
    expect(docs).toContain("protected_symlinks");
  }, 120_000);
});
