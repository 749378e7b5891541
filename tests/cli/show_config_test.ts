import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { loadConfigFiles, type LoadFilesContext } from "../../src/cli/load_config_files.ts";
import { showConfig } from "../../src/cli/show_config.ts";
import { sampleConfiguration } from "../../src/config/sample.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

const CONFIG = `data_dir = "/var/lib/shipper"
[sources."a.b"]
type = "file"
include = ["/x"]
[sinks.out]
type = "kafka"
inputs = ["a.b"]
brokers = "\${BROKERS:-kafka:9092}"
topic = "logs-\${STAGE}"
client_id = "a$$\${USER_PASSWORD}"
sasl.enabled = true
sasl.mechanism = "plain"
sasl.username = "u"
sasl.password = "\${USER_PASSWORD}"
tls.enabled = true
`;
const ENV = { STAGE: "dev", USER_PASSWORD: "hunter2" };

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

async function show(dir: TempDir, text: string, env: Record<string, string> = {}, json = false) {
  const path = dir.file("c.toml");
  writeFileSync(path, text);
  const printed = { stdout: "", stderr: "" };
  const code = await showConfig({ command: "config show", configPaths: [path], json }, {
    ...context(env),
    stdout: (part) => void (printed.stdout += part),
    stderr: (part) => void (printed.stderr += part),
    color: false,
  });
  return { code, stdout: printed.stdout.replaceAll(path, "c.toml"), stderr: printed.stderr };
}

test("every option stands there with its value and where that comes from", async () => {
  using dir = tempDir("show");
  const { code, stdout, stderr } = await show(dir, CONFIG, ENV);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = stdout.replace(/ +# /gu, " # ").split("\n");
  for (
    const line of [
      'data_dir = "/var/lib/shipper" # c.toml:1',
      "shutdown_timeout_secs = 10 # default",
      "# [api] is not there: the HTTP server is off",
      '[sources."a.b"]',
      "# ignore_older_secs # default: off",
      "[sinks.out]",
      'bootstrap_servers = ["kafka:9092"] # c.toml:8, as brokers, default of ${BROKERS}, which is not set',
      'topic = "logs-dev" # c.toml:9, environment variable STAGE',
      'client_id = "a$***" # c.toml:10, environment variable USER_PASSWORD',
      'delivery = "exactly_once" # default',
      'sasl.mechanism = "PLAIN" # c.toml:12',
      'sasl.password = "***" # c.toml:14, environment variable USER_PASSWORD',
      "# tls.ca_file # default: the system's certificate authorities",
    ]
  ) {
    expect(lines).toContain(line);
  }
  expect(stdout).not.toContain("hunter2");
});

test("--json says the same for programs", async () => {
  using dir = tempDir("show");
  const { code, stdout } = await show(dir, CONFIG, ENV, true);
  expect(code).toBe(0);
  expect(stdout).not.toContain("hunter2");
  const { options } = JSON.parse(stdout);
  expect(options).toContainEqual({
    table: "sinks.out",
    type: "kafka",
    used: true,
    key: "bootstrap_servers",
    value: ["kafka:9092"],
    masked: false,
    origin: {
      kind: "file",
      file: "c.toml",
      line: 8,
      column: 1,
      key: "brokers",
      variables: [],
      defaulted_variables: ["BROKERS"],
      secret_file: null,
    },
  });
  expect(options).toContainEqual({
    table: "",
    type: null,
    used: true,
    key: "shutdown_timeout_secs",
    value: 10,
    masked: false,
    origin: { kind: "default" },
  });
});

test("where nothing is masked, what is shown is a configuration that does the same", async () => {
  using dir = tempDir("show");
  // The level is null inside while it is not given, and 1 either way.
  const example = readFileSync(new URL("../../config.example.toml", import.meta.url), "utf8")
    .replace('compression = "zstd"', 'compression = "zstd"\ncompression_level = 1');
  const every = sampleConfiguration({ sources: ["file", "stdin"], sinks: ["kafka", "console"] });
  const odd = `${every}\n[sinks.odd]\ntype = "console"\ninputs = "file"\n` +
    'encoding.only_fields = ["a$$${X}", "\\u0007\\u009b", "\\"q\\".b"]\n';
  for (const text of [example, every, odd]) {
    const { stdout } = await show(dir, text, { X: "${Y} $$" });
    const load = async (each: string) => {
      writeFileSync(dir.file("c.toml"), each);
      return await loadConfigFiles([dir.file("c.toml")], context({ X: "${Y} $$" }));
    };
    const shown = await load(stdout);
    expect(shown.diagnostics.filter((each) => each.severity === "error")).toEqual([]);
    expect(shown.config).toEqual((await load(text)).config);
    // deno-lint-ignore no-control-regex -- nothing that a terminal obeys may be there
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/u);
  }
});

test("a wrong configuration is 78, and its problems are on stderr", async () => {
  using dir = tempDir("show");
  const { code, stdout, stderr } = await show(dir, CONFIG.replace("topic", "topc"), ENV, true);
  expect({ code, stdout }).toEqual({ code: 78, stdout: "" });
  expect(stderr).toContain("error[unknown-key]");
});
