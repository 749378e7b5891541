import { beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, shipperBinary, startShipper } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const EXIT_CONFIG = 78;
const isRoot = process.getuid?.() === 0;
/** root may write everything: without these it is like any other user. */
const WITHOUT_RIGHTS = isRoot ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] : [];
const canMount = isRoot && Bun.spawnSync(["unshare", "-m", "true"]).exitCode === 0;
const shell = (text: string) => ["sh", "-c", text, "sh"];

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

describe("a configuration that cannot be used ends with exit code 78 and says where and why", () => {
  const sources = '[sources.in]\ntype = "file"\ninclude = ["/var/log/*.log"]\n';
  const cases: Record<string, { text: string | null; said: RegExp[] }> = {
    "missing": { text: null, said: [/config-missing/, /no such file/] },
    "empty": { text: "", said: [/it is empty/] },
    "not TOML": { text: "sources: {in: yaml}\n", said: [/as TOML/, /config\.toml:1:\d+/] },
    "not text": { text: "\u0000\u0001\u0002 = 1\n", said: [/config\.toml/] },
    "an unknown type of source": {
      text: '[sources.in]\ntype = "journald"\n[sinks.out]\ntype = "console"\ninputs = ["in"]\n',
      said: [/journald/, /config\.toml:2:\d+/, /file/],
    },
    "an unknown type of sink": {
      text: `${sources}[sinks.out]\ntype = "kafke"\ninputs = ["in"]\n`,
      said: [/kafke/, /config\.toml:5:\d+/, /"kafka"/],
    },
    "an input that names no source": {
      text: `${sources}[sinks.out]\ntype = "console"\ninputs = ["inn"]\n`,
      said: [/inn/, /config\.toml:6:\d+/, /"in"/],
    },
  };
  for (const [name, { text, said }] of Object.entries(cases)) {
    test(name, async () => {
      await using dir = tempDir("config");
      const path = dir.file("config.toml");
      if (text !== null) writeFileSync(path, text);
      for (const args of [["--config", path], ["validate", "--config", path]]) {
        const exit = await runShipper({ args });
        expect(exit).toMatchObject({ code: EXIT_CONFIG, signal: null });
        for (const pattern of said) expect(exit.stdout + exit.stderr).toMatch(pattern);
      }
    }, 60_000);
  }
});

describe("data_dir", () => {
  test("not writable: exit code 78 with its path, and nothing was shipped", async () => {
    await using dir = tempDir("data-dir");
    const topic = await kafka.createTopic();
    new OracleWriter("data-dir", "a.log").append(dir.file("a.log"), 10);
    mkdirSync(dir.file("data"), { mode: 0o500 });
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    const exit = await runShipper({ config, args: ["--once"], wrapper: WITHOUT_RIGHTS });
    expect(exit).toMatchObject({ code: EXIT_CONFIG, signal: null });
    expect(exit.stderr).toContain(`"${dir.file("data")}"`);
    expect(exit.stderr).toContain("EACCES");
    expect(await kafka.countRecords(topic)).toBe(0);
  }, 90_000);

  test("below a file: exit code 78", async () => {
    await using dir = tempDir("data-dir");
    writeFileSync(dir.file("data"), "a file");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic: "any" });
    const exit = await runShipper({ config, args: ["--once"] });
    expect(exit).toMatchObject({ code: EXIT_CONFIG, signal: null });
    expect(exit.stderr).toContain("data_dir");
  }, 90_000);

  test("that another shipper uses: exit code 78 with its pid, and the first one goes on", async () => {
    await using dir = tempDir("data-dir");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("in-use", "a.log");
    writer.append(dir.file("a.log"), 10);
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    await using first = startShipper({ config });
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 10);
    const second = await runShipper({ config });
    expect(second).toMatchObject({ code: EXIT_CONFIG, signal: null });
    expect(second.stderr).toContain(`process ${first.pid} `);
    writer.append(dir.file("a.log"), 10);
    await waitUntil("it goes on", async () => await kafka.countRecords(topic) === 20);
    first.signal("SIGTERM");
    expect(await first.waitForExit()).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, [writer]);
  }, 90_000);
});

testIf(
  canMount,
  "needs root",
  "a data_dir without room: exactly once is refused, at least once ships and tells that positions are not stored",
  async () => {
    await using dir = tempDir("full");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("full", "a.log");
    writer.append(dir.file("a.log"), 1_000);
    mkdirSync(dir.file("data"));
    const sink = 'delivery = "at_least_once"';
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
    const exact = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    const fill = `mount -t tmpfs -o size=4k tmpfs "${dir.file("data")}" && head -c 4096 /dev/zero >"${
      dir.file("data", "filler")
    }"`;
    const wrapper = ["unshare", "-m", ...shell(`${fill} && exec "$@"`)];
    const refused = await runShipper({ config: exact, args: ["--once"], wrapper });
    expect(refused).toMatchObject({ code: 1, signal: null });
    expect(refused.stderr).toMatch(
      /error\[journal-unwritable\]: Cannot write the journal in .*ENOSPC\n = hint: free 1 MiB there/,
    );
    const exit = await runShipper({ config, args: ["--once"], wrapper });
    expect(exit).toMatchObject({ code: 0, signal: null });
    expect(exit.stderr).toMatch(/Cannot write the journal in .*ENOSPC; shipping all the same/);
    await expectExactly(kafka, topic, [writer]);
  },
  90_000,
);

describe("standard streams", () => {
  function consoleConfig(dir: TempDir): string {
    return `data_dir = "${dir.file("data")}"
[sources.in]
type = "file"
include = ["${dir.file("*.log")}"]
[sinks.out]
type = "console"
inputs = ["in"]
`;
  }

  test("stdout closed with a console sink: told, and no crash", async () => {
    await using dir = tempDir("stdout");
    writeFileSync(dir.file("a.log"), "one\ntwo\n");
    const exit = await runShipper({
      config: consoleConfig(dir),
      args: ["--once"],
      wrapper: shell('exec "$@" >&-'),
    });
    expect(exit).toMatchObject({ code: 0, signal: null });
    expect(exit.stderr).toContain("standard output is closed");
  }, 60_000);

  test(
    "stdout whose reader has gone: exit code 1, told, and the next run writes what was not read",
    async () => {
      await using dir = tempDir("stdout");
      const lines = Array.from({ length: 200_000 }, (_, i) => `line ${i}`);
      writeFileSync(dir.file("a.log"), lines.join("\n") + "\n");
      const config = consoleConfig(dir);
      const wrapper = shell('{ "$@"; echo "code $?" >&2; } | head -n 1');
      const cut = await runShipper({ config, args: ["--once"], wrapper });
      expect(cut.stdout).toBe("line 0\n");
      expect(cut.stderr).toContain("code 1\n");
      expect(cut.stderr).toContain("EPIPE");
      const whole = await runShipper({ config, args: ["--once"] });
      expect(whole.code).toBe(0);
      expect(whole.stdout.endsWith(`line ${lines.length - 1}\n`)).toBe(true);
      const missing = new Set(lines);
      for (const line of (cut.stdout + whole.stdout).split("\n")) missing.delete(line);
      // What went into the pipe before its reader ended was written; a pipe holds 64 KiB.
      expect(missing.size).toBeLessThan(65_536 / "line 0\n".length);
    },
    60_000,
  );

  for (const redirect of ["2>&-", "2>/dev/full", ">&- 2>&- <&-"]) {
    test(`${redirect}: it ships all the same`, async () => {
      await using dir = tempDir("stderr");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("stderr", "a.log");
      writer.append(dir.file("a.log"), 1_000);
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
      const exit = await runShipper({
        config,
        args: ["--once", "--log-level", "debug"],
        wrapper: shell(`exec "$@" ${redirect}`),
      });
      expect(exit).toMatchObject({ code: 0, signal: null, stdout: "", stderr: "" });
      await expectExactly(kafka, topic, [writer]);
    }, 60_000);
  }
});

describe("the folder that it is started in", () => {
  test(
    "a .env, a bunfig.toml with a preload, a package.json and a tsconfig.json are not read",
    async () => {
      await using dir = tempDir("cwd");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("cwd", "a.log");
      writer.append(dir.file("a.log"), 10);
      for (const name of [".env", ".env.local", ".env.production", ".env.development"]) {
        writeFileSync(dir.file(name), "TOPIC=from-dotenv\n");
      }
      writeFileSync(
        dir.file("bunfig.toml"),
        'preload = ["./preload.ts"]\n[run]\npreload = ["./preload.ts"]\n',
      );
      writeFileSync(dir.file("preload.ts"), `require("node:fs").writeFileSync("${dir.file("ran")}", "x");\n`);
      writeFileSync(dir.file("tsconfig.json"), "{ not json");
      writeFileSync(dir.file("package.json"), "{ not json");
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic: `\${TOPIC:-${topic}}` });
      const exit = await runShipper({ config, cwd: dir.path, args: ["--once"] });
      expect(exit).toMatchObject({ code: 0, signal: null });
      await expectExactly(kafka, topic, [writer]);
      expect(await Bun.file(dir.file("ran")).exists()).toBe(false);
    },
    60_000,
  );
});

describe("/tmp", () => {
  /** How a namespace's own /tmp is made. */
  const states: Record<string, string> = {
    "noexec": "mount -t tmpfs -o noexec tmpfs /tmp",
    "read-only": "mount -t tmpfs -o ro tmpfs /tmp",
    "full": "mount -t tmpfs -o size=4k tmpfs /tmp && head -c 4096 /dev/zero >/tmp/filler",
  };
  for (const [state, mount] of Object.entries(states)) {
    testIf(canMount, "needs root", `${state}: every codec works`, async () => {
      // Not below /tmp, which is about to be hidden, and the project may be there as well.
      const path = mkdtempSync(join("/var/tmp", "shipper-host-"));
      const dir: Pick<TempDir, "file"> = { file: (...names) => join(path, ...names) };
      try {
        copyFileSync(shipperBinary(), dir.file("shipper"));
        chmodSync(dir.file("shipper"), 0o755);
        for (const codec of ["lz4", "snappy", "zstd", "gzip"]) {
          const topic = await kafka.createTopic();
          const writer = new OracleWriter(`tmp-${codec}`, `${codec}.log`);
          writer.append(dir.file(`${codec}.log`), 20_000);
          const include = [dir.file(`${codec}.log`)];
          const sink = `compression = "${codec}"`;
          writeFileSync(
            dir.file("config.toml"),
            filesToKafka(dir as TempDir, { bootstrap: kafka.bootstrap, topic, include, sink }),
          );
          // The binary that the wrapper is given is below the hidden folder, perhaps: the copy is run instead.
          const script = `${mount} && shift && exec "${dir.file("shipper")}" "$@"`;
          const exit = await runShipper({
            args: ["--once", "--config", dir.file("config.toml")],
            wrapper: ["unshare", "-m", ...shell(script)],
            env: { TMPDIR: undefined, BUN_TMPDIR: undefined },
          });
          expect(exit).toMatchObject({ code: 0, signal: null });
          expect(exit.stderr).not.toMatch(/"level":"(warn|error)"/);
          await expectExactly(kafka, topic, [writer]);
        }
      } finally {
        rmSync(path, { recursive: true });
      }
    }, 120_000);
  }

  test("nothing is left behind in it", async () => {
    await using dir = tempDir("left");
    const topic = await kafka.createTopic();
    new OracleWriter("left", "a.log").append(dir.file("a.log"), 20_000);
    mkdirSync(dir.file("tmp"));
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: `compression = "snappy"` });
    const env = { TMPDIR: dir.file("tmp"), BUN_TMPDIR: dir.file("tmp") };
    expect(await runShipper({ config, args: ["--once"], env })).toMatchObject({ code: 0 });
    expect([...new Bun.Glob("**").scanSync({ cwd: dir.file("tmp"), dot: true })]).toEqual([]);
  }, 60_000);
});
