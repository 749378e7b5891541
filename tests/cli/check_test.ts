import { expect, test } from "bun:test";
import Ajv from "ajv/dist/2020.js";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { check, type CheckReport } from "../../src/cli/check.ts";
import { checkText } from "../../src/cli/check_text.ts";
import type { CommandContext } from "../../src/cli/command_context.ts";
import { found, passed, placeOf } from "../../src/check/check_result.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { StateHarness } from "./state_harness.ts";

const schema = JSON.parse(readFileSync(new URL("../../docs/check.schema.json", import.meta.url), "utf8"));
const fits = new Ajv({ strict: true, allowUnionTypes: true }).compile(schema);

const colorless = (args: Parameters<typeof check>[0], context: CommandContext) =>
  check(args, { ...context, stdoutColor: false });

/** What differs from run to run, taken out. */
function steady(text: string, { dir, kafka }: StateHarness): string {
  return text.replaceAll(dir.path, "DIR").replaceAll(String(kafka.bootstrapServers), "BROKER")
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME").replace(/\d+ MiB are free/g, "N MiB are free")
    .replace(/\d+ files may be open/g, "N files may be open")
    .replace(/\d+ of \d+ (watches|instances)/g, "N of N $1");
}

test("a line a check, in the order of the configuration; nothing is written anywhere", async () => {
  await using harness = await StateHarness.start(2);
  writeFileSync(harness.dir.file("a.log"), "x\n");
  const path = harness.config(["events"]);
  const before = readdirSync(harness.dir.path);
  const { code, stdout, stderr } = await harness.call(colorless, {
    command: "check",
    configPaths: [path],
    json: false,
  });
  expect(stderr).toBe("");
  expect(steady(stdout, harness)).toBe(
    `ok       The configuration in DIR/events.toml is valid: 1 source, 1 sink
ok       The clock of this host says TIME
ok       data_dir "DIR/data" is not there yet, and can be made
ok       N MiB are free for data_dir "DIR/data": enough for the journal
ok       [sources.app] Pattern "DIR/*.log" leads to 1 file, all readable
ok       N files may be open here: enough for the 1 found
ok       inotify has room for 1 folder: this user has N of N watches and N of N instances in use
ok       [sinks.events] Broker "BROKER" answers at 127.0.0.1, without TLS, without login
ok       [sinks.events] Broker "BROKER" speaks what this sink needs: Produce 10 (known here: 3 to 10)
ok       [sinks.events] The cluster is "fake"
ok       [sinks.events] Topic "logs" is there, with 2 partitions
ok       [sinks.events] Every partition of topic "logs" has a leader
ok       [sinks.events] Every partition of topic "logs" has 1 replica in sync
skipped  [sinks.events] Limits of topic "logs" are not known: the broker answers TOPIC_AUTHORIZATION_FAILED
         = hint: With the right to DESCRIBE_CONFIGS they are: kafka-acls --add --allow-principal User:... --operation DescribeConfigs --topic logs
skipped  [sinks.events] The broker does not tell what this user may do with topic "logs": brokers of Kafka 2.3 and later do
skipped  [sinks.events] The brokers do not tell whether this user may write idempotently: it has no right to DESCRIBE the cluster, and WRITE on no topic that is known by name
skipped  [sinks.events] The clock of the brokers is not compared: brokers before Kafka 3.3, and those with ZooKeeper, do not tell the time
Ready: 0 warnings, 13 ok, 4 skipped
`,
  );
  expect(code).toBe(0);
  expect(readdirSync(harness.dir.path)).toEqual(before);
  const asked = new Set(harness.kafka.brokers.flatMap(({ requests }) => requests.map((each) => each.apiKey)));
  const harmless: readonly number[] = [ApiKey.ApiVersions, ApiKey.Metadata, ApiKey.DescribeConfigs];
  expect([...asked].filter((key) => !harmless.includes(key))).toEqual([]);
});

test("what has failed ends with 78, and the JSON of both fits the schema", async () => {
  await using harness = await StateHarness.start();
  const run = async (path: string) => {
    const args = { command: "check", configPaths: [path], json: true } as const;
    const { code, stdout, stderr } = await harness.call(colorless, args);
    expect(stderr).toBe("");
    const report = JSON.parse(stdout) as CheckReport;
    if (!fits(report)) throw new Error(JSON.stringify(fits.errors));
    const counted = { ok: 0, warning: 0, failed: 0, skipped: 0 };
    for (const { status, code: why, hint } of report.checks) {
      counted[status]++;
      expect(why === null).toBe(status === "ok");
      if (status === "ok") expect(hint).toBeNull();
    }
    expect(report.counts).toEqual(counted);
    expect(report.ok).toBe(counted.failed === 0);
    return { code, report };
  };
  const good = await run(harness.config(["events"]));
  expect(good.code).toBe(0);
  // No file is there.
  expect(good.report.counts).toMatchObject({ failed: 0, warning: 1 });

  const away = await run(harness.config(["one", "two"], { isBrokerAway: true }));
  expect(away.code).toBe(78);
  expect(away.report.checks.filter((each) => each.status === "failed")).toMatchObject([
    { check: "broker.connection", sink: "one", target: "127.0.0.1:1", code: "ECONNREFUSED" },
    { check: "broker.connection", sink: "two", target: "127.0.0.1:1", code: "ECONNREFUSED" },
  ]);

  const bad = harness.dir.file("bad.toml");
  writeFileSync(bad, "[sinks.k]\ntype = 7\n");
  const invalid = await run(bad);
  expect(invalid.code).toBe(78);
  expect(invalid.report.checks).toMatchObject([{ check: "configuration", status: "failed" }]);
  expect(invalid.report.configuration.errors).toBeGreaterThan(0);
});

test("what is wrong with the configuration is on stderr, and what a name holds does not reach the terminal", async () => {
  await using harness = await StateHarness.start();
  writeFileSync(harness.dir.file("a\u001b[31m.log"), "x\n");
  const path = harness.config(["events"], { source: "remove_after = 7\n" });
  const args = { command: "check", configPaths: [path], json: false } as const;
  const { code, stdout, stderr } = await harness.call(colorless, args);
  expect(code).toBe(78);
  expect(stderr).toContain("error[unknown-key]");
  expect(stdout).toBe(
    `failed   The configuration in ${path} has 1 error: nothing else is looked at
         = hint: shipper validate --config ${path}
1 check failed, 0 warnings, 0 ok
`,
  );
});

test("colour, hints and escapes", () => {
  const place = placeOf("files", { source: "app" });
  const checks = [
    passed(place, "Good"),
    found("failed", place, "EACCES", 'Cannot read "a\u001b[0m\n"', "chmod"),
  ];
  const report: CheckReport = {
    version: 1,
    ok: false,
    counts: { ok: 1, warning: 0, failed: 1, skipped: 0 },
    checks,
    configuration: { valid: true, errors: 0, warnings: 0, diagnostics: [] },
  };
  expect(checkText(report, false)).toBe(
    'ok       [sources.app] Good\nfailed   [sources.app] Cannot read "a\\x1b[0m\\x0a"\n' +
      "         = hint: chmod\n1 check failed, 0 warnings, 1 ok\n",
  );
  expect(checkText(report, true).split("\n")[0]).toBe("\u001b[32mok     \u001b[0m  [sources.app] Good");
  expect(checkText(report, true)).toContain("\u001b[31m1 check failed, 0 warnings, 1 ok\u001b[0m\n");
});
