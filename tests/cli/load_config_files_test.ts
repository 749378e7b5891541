import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import {
  CONFIG_FILE_BYTES_MAX,
  loadConfigFiles,
  type LoadFilesContext,
} from "../../src/cli/load_config_files.ts";
import { validate, type ValidateArgs } from "../../src/cli/validate.ts";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { tempDir } from "../support/temp_dir.ts";

const GOOD =
  '[sources.in]\ntype = "file"\ninclude = ["/x"]\n[sinks.out]\ntype = "console"\ninputs = ["in"]\n';

function context(stdin = ""): LoadFilesContext {
  return {
    hostname: "h",
    isRoot: true,
    home: "/root",
    xdgStateHome: undefined,
    env: {},
    stdin: async function* () {
      yield Buffer.from(stdin.slice(0, 10));
      yield Buffer.from(stdin.slice(10));
    },
  };
}

/** What is printed about the files, with the folder cut from their names. */
async function printed(paths: string[], folder: string, stdin?: string): Promise<string> {
  const { config, diagnostics } = await loadConfigFiles(paths, context(stdin));
  expect(config).toBeNull();
  return renderDiagnostics(diagnostics, { color: false }).replaceAll(`${folder}/`, "");
}

function expected(name: string): string {
  return readFileSync(new URL(`../config/bad/${name}.txt`, import.meta.url), "utf8");
}

test("a good file is loaded", async () => {
  using dir = tempDir("config");
  writeFileSync(dir.file("a.toml"), GOOD);
  const { config, diagnostics } = await loadConfigFiles([dir.file("a.toml")], context());
  expect(diagnostics).toEqual([]);
  expect(config!.sinks).toHaveLength(1);
});

test("standard input is a configuration too", async () => {
  const { config } = await loadConfigFiles(["-"], context(GOOD));
  expect(config!.sources).toHaveLength(1);
});

test("a missing file is named", async () => {
  using dir = tempDir("config");
  expect(await printed([dir.file("shipper.toml")], dir.path)).toBe(expected("config_missing"));
  writeFileSync(dir.file("file"), "");
  expect(await printed([dir.file("file", "shipper.toml")], dir.file("file"))).toBe(
    expected("config_missing"),
  );
});

test("a folder is no configuration", async () => {
  using dir = tempDir("config");
  mkdirSync(dir.file("conf.d"));
  expect(await printed([dir.file("conf.d")], dir.path)).toBe(expected("config_is_directory"));
});

test("an empty file says so", async () => {
  using dir = tempDir("config");
  writeFileSync(dir.file("shipper.toml"), " \n\n");
  expect(await printed([dir.file("shipper.toml")], dir.path)).toBe(expected("config_empty_file"));
  expect(await printed(["-"], dir.path)).toBe(
    expected("config_empty_file").replaceAll("shipper.toml", "<stdin>"),
  );
});

test("bytes that are not UTF-8 are found with their line", async () => {
  using dir = tempDir("config");
  writeFileSync(
    dir.file("shipper.toml"),
    Buffer.concat([Buffer.from("# ä\n# "), Buffer.from([0xe4]), Buffer.from("\n")]),
  );
  expect(await printed([dir.file("shipper.toml")], dir.path)).toBe(expected("config_not_utf8"));
});

test("a truncated character at the end is found too", async () => {
  using dir = tempDir("config");
  writeFileSync(
    dir.file("shipper.toml"),
    Buffer.concat([Buffer.from(GOOD), Buffer.from([0x23, 0xe2, 0x82])]),
  );
  expect(await printed([dir.file("shipper.toml")], dir.path)).toContain("byte 0xe2 in line 7 is not UTF-8");
});

test("a log is not read as a configuration", async () => {
  using dir = tempDir("config");
  writeFileSync(dir.file("app.log"), Buffer.alloc(CONFIG_FILE_BYTES_MAX + 1, "#"));
  expect(await printed([dir.file("app.log")], dir.path)).toBe(expected("config_too_large"));
});

test("a file that the user may not read says what to look at", async () => {
  using dir = tempDir("config");
  // root may read every file, but nobody can read a process's memory from its start.
  const path = process.getuid?.() === 0 ? "/proc/self/mem" : dir.file("mem");
  if (path !== "/proc/self/mem") {
    writeFileSync(path, GOOD);
    chmodSync(path, 0o000);
  }
  const text = await printed([path], path.slice(0, path.lastIndexOf("/")));
  expect(text.replace("the system says EIO", "this user may not read it")).toBe(
    expected("config_unreadable"),
  );
});

test("what is wrong inside of the other files is reported in the same run", async () => {
  using dir = tempDir("config");
  writeFileSync(dir.file("b.toml"), '[sources.app]\ntype = "fiel"\n');
  const { diagnostics } = await loadConfigFiles([dir.file("a.toml"), dir.file("b.toml")], context());
  expect(diagnostics.map((each) => each.code)).toEqual(["config-missing", "unknown-type"]);
});

function validateArgs(path: string, json = false): ValidateArgs {
  return { command: "validate", configPaths: [path], json };
}

test("validate --json prints one object, and nothing on stderr", async () => {
  using dir = tempDir("config");
  let stdout = "";
  let stderr = "";
  const output = {
    stdout: (text: string) => stdout += text,
    stderr: (text: string) => stderr += text,
    color: true,
  };
  writeFileSync(dir.file("a.toml"), GOOD.replace("include", "inclde"));
  expect(await validate(validateArgs(dir.file("a.toml"), true), context(), output)).toBe(78);
  const { diagnostics, ...sums } = JSON.parse(stdout);
  expect(sums).toEqual({ valid: false, errors: 1, warnings: 0 });
  expect(diagnostics[0]).toMatchObject({ code: "unknown-key", file: dir.file("a.toml"), line: 3, column: 1 });
  stdout = "";
  expect(await validate(validateArgs(dir.file("missing.toml"), true), context(), output)).toBe(78);
  expect(JSON.parse(stdout).diagnostics[0]).toMatchObject({ code: "config-missing", line: null, end: null });
  stdout = "";
  writeFileSync(dir.file("a.toml"), GOOD);
  expect(await validate(validateArgs(dir.file("a.toml"), true), context(), output)).toBe(0);
  expect(JSON.parse(stdout)).toEqual({ valid: true, errors: 0, warnings: 0, diagnostics: [] });
  expect(stderr).toBe("");
});

test("validate prints problems and returns 78", async () => {
  using dir = tempDir("config");
  writeFileSync(dir.file("a.toml"), GOOD.replace("include", "inclde"));
  let stdout = "";
  let stderr = "";
  const output = {
    stdout: (text: string) => stdout += text,
    stderr: (text: string) => stderr += text,
    color: false,
  };
  expect(await validate(validateArgs(dir.file("a.toml")), context(), output)).toBe(78);
  expect(stderr).toContain("error[unknown-key]");
  expect(stdout).toBe("");
});

test("validate prints one line about a good configuration and returns 0, warnings or not", async () => {
  using dir = tempDir("config");
  writeFileSync(dir.file("a.toml"), `${GOOD}[sources.idle]\ntype = "stdin"\n`);
  let stdout = "";
  let stderr = "";
  const output = {
    stdout: (text: string) => stdout += text,
    stderr: (text: string) => stderr += text,
    color: false,
  };
  expect(await validate(validateArgs(dir.file("a.toml")), context(), output)).toBe(0);
  expect(stderr).toContain("warning[unread-source]");
  expect(stdout).toBe(`The configuration in ${dir.file("a.toml")} is valid: 1 source, 1 sink\n`);
});

const LOGIN = `[sources.in]
type = "file"
include = ["/x"]
[sinks.out]
type = "kafka"
inputs = ["in"]
bootstrap_servers = "b:9092"
topic = "t"
tls.enabled = true
sasl.enabled = true
sasl.mechanism = "PLAIN"
sasl.username = "me"
`;

test("a file with a secret in it that every user may read is warned of, with the secret masked", async () => {
  using dir = tempDir("config");
  const path = dir.file("shipper.toml");
  const warned = async (password: string, mode: number) => {
    writeFileSync(path, `${LOGIN}sasl.password = ${password}\n`);
    chmodSync(path, mode);
    writeFileSync(dir.file("secret"), "hunter2");
    const { config, diagnostics } = await loadConfigFiles([path], {
      ...context(),
      env: { PASSWORD: "hunter2" },
    });
    expect(config).not.toBeNull();
    return renderDiagnostics(diagnostics, { color: false }).replaceAll(`${dir.path}/`, "");
  };
  expect(await warned('"hunter2"', 0o644)).toBe(expected("readable_secret"));
  expect(await warned('"hunter2"', 0o640)).toBe("");
  expect(await warned('"${PASSWORD}"', 0o644)).toBe("");
  expect(await warned(`{ file = "${dir.file("secret")}" }`, 0o644)).toBe("");
  expect(await warned('"${PASSWORD:-other}"', 0o644)).toBe("");
});

test("a private key in the configuration is a secret too", async () => {
  using dir = tempDir("config");
  const pem = "-----BEGIN PRIVATE KEY-----\\nMIIEvQ\\n-----END PRIVATE KEY-----";
  writeFileSync(
    dir.file("a.toml"),
    `${LOGIN}sasl.password = "\${PASSWORD}"\ntls.crt_file = "/c"\ntls.key_file = "${pem}"\n`,
    {
      mode: 0o644,
    },
  );
  const { diagnostics } = await loadConfigFiles([dir.file("a.toml")], {
    ...context(),
    env: { PASSWORD: "p" },
  });
  expect(diagnostics.map((each) => each.code)).toEqual(["readable-secret"]);
  expect(renderDiagnostics(diagnostics, { color: false })).not.toContain("MIIEvQ");
});
