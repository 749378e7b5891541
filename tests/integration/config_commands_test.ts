import { describe, expect, test } from "bun:test";
import Ajv from "ajv/dist/2020.js";
import { readFileSync, writeFileSync } from "node:fs";
import { projectDir } from "../../scripts/lib/project.ts";
import { SHELLS } from "../../src/cli/commands.ts";
import { configurationSchemaText } from "../../src/config/json_schema.ts";
import { runShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

/** What the binary prints; it must end well, without a word on stderr. */
async function printed(...args: string[]): Promise<string> {
  const exit = await runShipper({ args });
  expect(exit).toMatchObject({ code: 0, stderr: "" });
  return exit.stdout;
}

test("schema prints what docs/shipper.schema.json holds, and a checker can use it", async () => {
  const schema = await printed("schema");
  expect(schema).toBe(configurationSchemaText());
  const validate = new Ajv({ allowUnionTypes: true, strictRequired: false }).compile(JSON.parse(schema));
  expect(validate(Bun.TOML.parse(readFileSync(`${projectDir}/config.example.toml`, "utf8")))).toBe(true);
});

test("generate prints a configuration that is valid, and ships", async () => {
  await using dir = tempDir("generate");
  const path = dir.file("c.toml");
  writeFileSync(path, await printed("generate", "--sources", "file,stdin", "--sinks", "kafka,console"));
  expect(await printed("validate", "-c", path)).toBe(
    `The configuration in ${path} is valid: 2 sources, 2 sinks\n`,
  );
  writeFileSync(path, await printed("generate", "--sources", "stdin", "--sinks", "console"));
  const exit = await runShipper({ args: ["-c", path], stdin: "one\ntwo\n" });
  expect(exit).toMatchObject({ code: 0, stdout: "one\ntwo\n" });
  expect(await runShipper({ args: ["generate", "--sinks", "kafak"] })).toMatchObject({ code: 2 });
});

test("completion prints a script for each shell", async () => {
  for (const shell of SHELLS) expect(await printed("completion", shell)).toContain("_shipper");
});

describe("config show", () => {
  const CONFIG = '[sources.in]\ntype = "stdin"\n[sinks.out]\ntype = "kafka"\ninputs = ["in"]\n' +
    'brokers = "127.0.0.1:1"\ntopic = "logs-${STAGE:-dev}"\nclient_id = "x-${KAFKA_PASSWORD}"\n' +
    'sasl = { enabled = true, mechanism = "SCRAM-SHA-256", username = "u", password = "${KAFKA_PASSWORD}" }\n';

  test("shows values and where they come from, and no secret", async () => {
    await using dir = tempDir("show");
    const path = dir.file("c.toml");
    writeFileSync(path, CONFIG);
    const env = { KAFKA_PASSWORD: "hunter2", STAGE: undefined };
    const exit = await runShipper({ args: ["config", "show", "--config", path], env });
    expect(exit).toMatchObject({ code: 0, stderr: "" });
    expect(exit.stdout).toMatch(
      /^topic = "logs-dev" +# .*c\.toml:7, default of \$\{STAGE\}, which is not set$/mu,
    );
    expect(exit.stdout).toMatch(/^client_id = "x-\*{3}" +# .*:8, environment variable KAFKA_PASSWORD$/mu);
    expect(exit.stdout).toMatch(/^sasl\.password = "\*{3}" +# .*:9, environment variable KAFKA_PASSWORD$/mu);
    const json = await runShipper({ args: ["config", "show", "--json", "--config", path], env });
    expect(JSON.parse(json.stdout).options.length).toBeGreaterThan(50);
    for (const { stdout, stderr } of [exit, json]) expect(stdout + stderr).not.toContain("hunter2");
  });
});

test("validate --json is 78 with an error, and nothing else is printed", async () => {
  await using dir = tempDir("validate");
  const path = dir.file("c.toml");
  writeFileSync(path, '[sources.in]\ntype = "stdn"\n[sinks.out]\ntype = "console"\ninputs = ["in"]\n');
  const exit = await runShipper({ args: ["validate", "--json", "--config", path] });
  expect(exit).toMatchObject({ code: 78, stderr: "" });
  expect(JSON.parse(exit.stdout)).toMatchObject({
    valid: false,
    errors: 1,
    diagnostics: [{ code: "unknown-type", file: path, line: 2, column: 8, end: { line: 2, column: 14 } }],
  });
});
