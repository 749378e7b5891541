import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { loadConfigFiles, type LoadFilesContext } from "../../src/cli/load_config_files.ts";
import { readSecretFile, SECRET_FILE_BYTES_MAX } from "../../src/cli/secret_file.ts";
import { showConfig } from "../../src/cli/show_config.ts";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

/** Writes the content to a file and reads it as a secret. */
function read(dir: TempDir, content: string | Uint8Array) {
  writeFileSync(dir.file("secret"), content);
  return readSecretFile(dir.file("secret"));
}

describe("a secret in a file", () => {
  test("is its text, without one newline at the end", () => {
    using dir = tempDir("secret");
    for (
      const [content, text] of [
        ["hunter2", "hunter2"],
        ["hunter2\n", "hunter2"],
        ["hunter2\r\n", "hunter2"],
        ["hunter2\n\n", "hunter2\n"],
        [" hun ter\t", " hun ter\t"],
        ["${A} $$ ä\n", "${A} $$ ä"],
      ] as const
    ) {
      expect(read(dir, content), JSON.stringify(content)).toEqual({ ok: true, text });
    }
    symlinkSync(dir.file("secret"), dir.file("link"));
    expect(readSecretFile(dir.file("link"))).toMatchObject({ ok: true });
    expect(read(dir, "x".repeat(SECRET_FILE_BYTES_MAX))).toMatchObject({ ok: true });
  });

  test("is refused with a reason that shows nothing of it", () => {
    using dir = tempDir("secret");
    const reason = (found: ReturnType<typeof readSecretFile>) => found.ok ? "" : found.reason;
    for (const empty of ["", "\n", "\r\n"]) expect(reason(read(dir, empty))).toBe("it is empty");
    expect(reason(read(dir, "x".repeat(SECRET_FILE_BYTES_MAX + 1)))).toBe("it has more than 64 KiB");
    expect(reason(read(dir, Uint8Array.of(104, 117, 255)))).toBe("it is not UTF-8");
    expect(reason(read(dir, "a\0b"))).toBe("it holds a NUL");
    expect(reason(readSecretFile(dir.file("none")))).toBe("there is no such file");
    expect(reason(readSecretFile(`${dir.file("secret")}/x`))).toBe("there is no such file");
    for (const path of ["", "  ", "a\0b"]) expect(reason(readSecretFile(path))).toBe("it names no file");
    mkdirSync(dir.file("folder"));
    expect(reason(readSecretFile(dir.file("folder")))).toBe("it is a folder");
    symlinkSync(dir.file("loop"), dir.file("loop"));
    expect(reason(readSecretFile(dir.file("loop")))).toBe("the system says ELOOP");
  });

  test("that cannot be read says why", () => {
    using dir = tempDir("secret");
    // root may read every file, but nobody can read a process's memory from its start.
    if (process.getuid?.() === 0) {
      expect(readSecretFile("/proc/self/mem")).toMatchObject({ reason: "the system says EIO" });
      return;
    }
    read(dir, "hunter2");
    chmodSync(dir.file("secret"), 0);
    expect(readSecretFile(dir.file("secret"))).toMatchObject({ reason: "this user may not read it" });
  });
});

const HEAD = `[sources.app]
type = "file"
include = ["/x"]
[sinks.out]
type = "kafka"
inputs = ["app"]
brokers = "k:9092"
topic = "t"
tls.enabled = true
sasl.enabled = true
`;
const LOGIN = 'sasl.mechanism = "SCRAM-SHA-256"\nsasl.username = "me"\n';

function context(env: Record<string, string>): LoadFilesContext {
  return {
    hostname: "h",
    isRoot: true,
    home: "/root",
    xdgStateHome: undefined,
    env,
    stdin: async function* () {},
  };
}

async function load(dir: TempDir, lines: string) {
  writeFileSync(dir.file("c.toml"), HEAD + lines, { mode: 0o600 });
  const { config, diagnostics } = await loadConfigFiles([dir.file("c.toml")], context({ DIR: dir.path }));
  const printed = renderDiagnostics(diagnostics, { color: false });
  return { sink: config?.sinks[0] as KafkaSinkConfig | undefined, printed };
}

describe("a configuration that names one", () => {
  test("has its text: a password, a pass phrase, a login, a property", async () => {
    using dir = tempDir("secret");
    writeFileSync(dir.file("pw"), "hu$${x}nter2\n");
    writeFileSync(dir.file("jaas"), 'x.PlainLoginModule required\n username="me"\n password="hu$$nter2";\n');
    const sasl = { mechanism: "SCRAM-SHA-256", username: "me", password: "hu$${x}nter2" } as const;
    for (
      const line of [
        'sasl.password = { file = "${DIR}/pw" }',
        'sasl.password.file = "${DIR}/${NAME:-pw}"',
        'librdkafka_options."sasl.password" = { file = "${DIR}/pw" }',
        'librdkafka_options.sasl.password.file = "${DIR}/pw"',
      ]
    ) {
      const { sink, printed } = await load(dir, LOGIN + line);
      expect(printed, line).toBe("");
      expect(sink!.sasl, line).toEqual(sasl);
    }
    const jaas = await load(dir, 'sasl.jaas_config = { file = "${DIR}/jaas" }');
    expect(jaas.printed).toBe("");
    expect(jaas.sink!.sasl).toEqual({ mechanism: "PLAIN", username: "me", password: "hu$$nter2" });
    const key = await load(
      dir,
      `${LOGIN}sasl.password = "p"\ntls.crt_file = "/c"\ntls.key_file = "/k"\ntls.key_pass.file = "\${DIR}/pw"`,
    );
    expect(key.printed).toBe("");
    expect(key.sink!.tls!.keyPass).toBe("hu$${x}nter2");
  });

  test("says where the path stands when the file cannot be taken", async () => {
    using dir = tempDir("secret");
    writeFileSync(dir.file("pw"), "\n");
    const { sink, printed } = await load(dir, `${LOGIN}sasl.password = { file = "\${DIR}/pw" }`);
    expect(sink).toBeUndefined();
    expect(printed).toContain("error[bad-secret-file]");
    expect(printed).toContain("it is empty");
    expect(printed).toContain(
      '13 | sasl.password = { file = "${DIR}/pw" }\n   |                          ^^^^^^^^^^^',
    );
  });

  test("shows nothing of it, whatever else is wrong", async () => {
    using dir = tempDir("secret");
    writeFileSync(dir.file("pw"), "hunter2");
    writeFileSync(dir.file("jaas"), "x.PlainLoginModule required username=me password=hunter2");
    for (
      const lines of [
        `${LOGIN}sasl.password.file = "\${DIR}/pw"\nlibrdkafka_options."sasl.password" = "another"`,
        `${LOGIN}sasl.password.file = "\${DIR}/pw"\nlinger = 5`,
        'sasl.mechanism = "PLAIN"\nsasl.jaas_config = { file = "${DIR}/jaas" }',
      ]
    ) {
      const { sink, printed } = await load(dir, lines);
      expect(sink, lines).toBeUndefined();
      expect(printed, lines).toContain("error[");
      expect(printed, lines).not.toContain("hunter2");
    }
  });

  test("is shown by its path in `config show`, and masked in what holds the same text", async () => {
    using dir = tempDir("secret");
    writeFileSync(dir.file("pw"), "hunter2\n");
    const lines = `${LOGIN}sasl.password = { file = "\${DIR}/pw" }\nclient_id = "c-hunter2"\n`;
    writeFileSync(dir.file("c.toml"), HEAD + lines, { mode: 0o600 });
    const show = async (json: boolean) => {
      let stdout = "";
      const code = await showConfig({ command: "config show", configPaths: [dir.file("c.toml")], json }, {
        ...context({ DIR: dir.path }),
        stdout: (part) => void (stdout += part),
        stderr: () => {},
        color: false,
      });
      expect(code).toBe(0);
      expect(stdout).not.toContain("hunter2");
      return stdout.replaceAll(dir.path, "DIR").replace(/ +# /gu, " # ");
    };
    // A name that tells of a secret is usual for a variable with the path of one.
    const named = HEAD + lines.replace("${DIR}/pw", "${KAFKA_PASSWORD_FILE}");
    writeFileSync(dir.file("named.toml"), named);
    const { config } = await loadConfigFiles(
      [dir.file("named.toml")],
      context({ KAFKA_PASSWORD_FILE: dir.file("pw") }),
    );
    expect((config!.sinks[0] as KafkaSinkConfig).sasl).toMatchObject({ password: "hunter2" });
    const text = (await show(false)).split("\n");
    expect(text).toContain('sasl.password = "***" # DIR/c.toml:13, file DIR/pw, environment variable DIR');
    expect(text).toContain('client_id = "c-***" # DIR/c.toml:14');
    const { options } = JSON.parse(await show(true));
    expect(options).toContainEqual(
      expect.objectContaining({
        key: "sasl.password",
        value: "***",
        masked: true,
        origin: expect.objectContaining({ secret_file: "DIR/pw" }),
      }),
    );
  });
});
