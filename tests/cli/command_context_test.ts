import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { allSecrets, type CommandContext, withConfig } from "../../src/cli/command_context.ts";
import type { Config } from "../../src/config/config.ts";
import { StartError } from "../../src/errors.ts";
import { tempDir } from "../support/temp_dir.ts";

const GOOD = '[sources.in]\ntype = "stdin"\n[sinks.out]\ntype = "console"\ninputs = ["in"]\n';

/** Runs a command on a configuration; gives its exit code and what it printed. */
async function call(
  text: string,
  command: (config: Config) => Promise<number>,
  options: { readonly path: string | null; readonly needsSecrets?: (config: Config) => boolean } = {
    path: null,
  },
) {
  using dir = tempDir("command");
  const path = options.path ?? dir.file("c.toml");
  if (options.path === null) writeFileSync(path, text);
  const printed = { stdout: "", stderr: "" };
  const context: CommandContext = {
    env: {},
    hostname: "h",
    isRoot: true,
    home: "/root",
    xdgStateHome: undefined,
    stdin: async function* () {
      yield Buffer.from(text);
    },
    stdout: (part) => void (printed.stdout += part),
    stderr: (part) => void (printed.stderr += part),
    color: false,
    now: () => 0,
  };
  return { code: await withConfig([path], context, command, options.needsSecrets), ...printed };
}

test("a command gets the configuration, and its exit code is the result", async () => {
  const names: string[] = [];
  const result = await call(GOOD, (config) => {
    names.push(...config.sinks.map((each) => each.name));
    return Promise.resolve(3);
  });
  expect(result).toEqual({ code: 3, stdout: "", stderr: "" });
  expect(names).toEqual(["out"]);
});

test("a wrong configuration is 78, and the command is not called", async () => {
  const { code, stderr } = await call(`${GOOD}nonsense = 1\n`, () => Promise.reject(new Error("was called")));
  expect(code).toBe(78);
  expect(stderr).toContain("error[unknown-key]: ");
});

test("warnings are printed, and the command runs", async () => {
  const { code, stderr } = await call(
    `${GOOD}[sources.idle]\ntype = "file"\ninclude = ["/x"]\n`,
    () => Promise.resolve(0),
  );
  expect(code).toBe(0);
  expect(stderr).toContain("warning[unread-source]: ");
});

test("files with secrets are not needed, and not opened", async () => {
  const kafka = `[sources.in]
type = "stdin"
[sinks.out]
type = "kafka"
inputs = ["in"]
bootstrap_servers = "k:9092"
topic = "t"
`;
  const none = '{ file = "/run/secrets/none" }';
  const logins = [
    `sasl = { enabled = true, mechanism = "SCRAM-SHA-256", username = "me", password = ${none} }\n`,
    `sasl = { enabled = true, jaas_config = ${none} }\n`,
    `sasl.mechanism = "PLAIN"\nsecurity_protocol = "SASL_SSL"\nlibrdkafka_options."sasl.jaas.config" = ${none}\n`,
    `tls.enabled = true\nsasl = { enabled = true, mechanism = "OAUTHBEARER", oauthbearer = { token = ${none} } }\n`,
    `tls = { enabled = true, crt_file = "/c", key_file = "/k", key_pass = ${none} }\n`,
  ];
  for (const login of logins) {
    expect(await call(kafka + login, () => Promise.resolve(0)), login).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
  }
  const wrong =
    `sasl = { enabled = true, mechanism = "SCRAM-SHA-256", username = "me", password = { file = 1 } }\n`;
  expect((await call(kafka + wrong, () => Promise.resolve(0))).code).toBe(78);
});

test("a command that connects gets the secrets, also from a configuration on standard input", async () => {
  using dir = tempDir("command-secret");
  writeFileSync(dir.file("secret"), "hunter2\n");
  const text = (file: string) =>
    `[sources.app]
type = "file"
include = ["/x"]
[sinks.out]
type = "kafka"
inputs = ["app"]
bootstrap_servers = "k:9092"
topic = "t"
sasl = { enabled = true, mechanism = "SCRAM-SHA-256", username = "me", password = { file = ${
      JSON.stringify(file)
    } } }
`;
  const passwords: unknown[] = [];
  const keep = ({ sinks }: Config) => {
    passwords.push((sinks[0] as { sasl?: { password: string } }).sasl!.password);
    return Promise.resolve(0);
  };
  for (const path of [null, "-"]) {
    const result = await call(text(dir.file("secret")), keep, { path, needsSecrets: allSecrets });
    expect(result).toEqual({ code: 0, stdout: "", stderr: "" });
  }
  expect(passwords).toEqual(["hunter2", "hunter2"]);
  const missing = await call(text(dir.file("none")), keep, { path: null, needsSecrets: allSecrets });
  expect(missing.code).toBe(78);
  expect(missing.stderr).toContain("error[bad-secret-file]: ");
  expect(await call(text(dir.file("none")), () => Promise.resolve(0))).toMatchObject({ code: 0 });
});

test("what the host's state forbids is printed with its hint and its exit code", async () => {
  const refuse = () => Promise.reject(new StartError("data-dir-locked", "Cannot use it", "stop it first", 5));
  expect(await call(GOOD, refuse)).toEqual({
    code: 5,
    stdout: "",
    stderr: "error[data-dir-locked]: Cannot use it\n = hint: stop it first\n",
  });
});

test("any other error is not taken for one of the host", async () => {
  await expect(call(GOOD, () => Promise.reject(new TypeError("a bug")))).rejects.toThrow("a bug");
});
