import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import type { Certificates } from "../../scripts/lib/kafka_certificates.ts";
import type { ListenerName } from "../../scripts/lib/kafka_properties.ts";
import { makeToken } from "../../scripts/lib/kafka_tokens.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { filesToKafka } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { TokenProvider } from "../support/token_provider.ts";

// No secret is in any output, whether the login works or is refused: log at its most talkative, pages of the API, and commands.

const CLUSTER_TIMEOUT_MS = 120_000;
let own: OwnCluster;
let files: Certificates;
beforeAll(async () => {
  own = await ownCluster({ security: "sasl_ssl" });
  files = own.kafka.certificates!;
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

const CLIENT = { id: "shipper", secret: "client-secret-7731" };
const tls = () => `[sinks.out.tls]\nenabled = true\nca_file = "${files.ca}"\n`;
const password = (mechanism: string, text: string) =>
  `sasl = { enabled = true, mechanism = "${mechanism}", username = "admin", password = "${text}" }\n${tls()}`;

interface Case {
  readonly listener: ListenerName;
  readonly sink: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What must be seen nowhere. */
  readonly secrets: readonly string[];
}

async function outputsOf({ listener, sink, env = {} }: Case, dir: TempDir): Promise<string> {
  const socket = dir.file("api.sock");
  writeFileSync(dir.file("app.log"), "line\n");
  const topic = await own.kafka.createTopic();
  const top = `[api]\naddress = "unix:${socket}"`;
  const config = filesToKafka(dir, { bootstrap: own.kafka.listeners[listener]!, topic, top, sink });
  const outputs: string[] = [];
  for (
    const args of [["config", "show"], ["config", "show", "--json"], ["validate"], ["validate", "--json"]]
  ) {
    const path = dir.file("c.toml");
    writeFileSync(path, config);
    const exit = await runShipper({ args: [...args, "--config", path], env });
    outputs.push(exit.stdout, exit.stderr);
  }
  await using shipper = startShipper({ config, env, args: ["--log-level", "debug"] });
  const done =
    /Health check of sink \\?"out\\?" passed|"level":"(warn|error)","message":"[^"]*(refused|does not take|Cannot get)/u;
  await shipper.waitForLog(done);
  await Bun.sleep(500);
  for (const page of ["/", "/metrics", "/ready", "/health", "/audit"]) {
    outputs.push(await (await fetch(`http://localhost${page}`, { unix: socket })).text());
  }
  await own.kafka.deleteTopic(topic);
  expect(shipper.isRunning).toBe(true);
  shipper.signal("SIGTERM");
  await Bun.sleep(300);
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  return [...outputs, exit.stdout, exit.stderr].join("\n");
}

test("no secret is in any output", async () => {
  using provider = new TokenProvider(files, CLIENT);
  const good = makeToken(files.tokenKey, { sub: "admin", lifeSeconds: 600 });
  const ended = makeToken(files.tokenKey, { sub: "admin", lifeSeconds: -600 });
  const basic = (secret: string) => Buffer.from(`${CLIENT.id}:${secret}`).toString("base64");
  const oidc = (secret: string) =>
    `[sinks.out.sasl]\nenabled = true\nmechanism = "OAUTHBEARER"\noauthbearer.token_endpoint_url = "${provider.url}"\n` +
    `oauthbearer.client_id = "${CLIENT.id}"\noauthbearer.client_secret = "${secret}"\noauthbearer.ca_file = "${files.ca}"\n${tls()}`;
  const token = (text: string) =>
    `sasl = { enabled = true, mechanism = "OAUTHBEARER", oauthbearer.token = "${text}" }\n${tls()}`;
  const aws = {
    AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
    AWS_SECRET_ACCESS_KEY: "aws-secret-key-11",
    AWS_SESSION_TOKEN: "aws-session-12",
  };
  const secure = { listener: "SASL_SSL" } as const;
  const jaas = "org.apache.kafka.common.security.plain.PlainLoginModule";
  const cases: Case[] = [
    { ...secure, sink: password("SCRAM-SHA-512", "admin-secret"), secrets: ["admin-secret"] },
    { ...secure, sink: password("PLAIN", "wrong-pass-1"), secrets: ["wrong-pass-1"] },
    {
      ...secure,
      sink: password("SCRAM-SHA-256", "${PW}"),
      env: { PW: "wrong-pass-2" },
      secrets: ["wrong-pass-2"],
    },
    {
      ...secure,
      sink:
        `librdkafka_options."sasl.jaas.config" = '${jaas} required username="admin" password="wrong-pass-3";'\n` +
        `librdkafka_options."security.protocol" = "SASL_SSL"\n[sinks.out.tls]\nca_file = "${files.ca}"\n`,
      secrets: ["wrong-pass-3"],
    },
    { ...secure, sink: oidc(CLIENT.secret), secrets: [CLIENT.secret, basic(CLIENT.secret), "eyJ"] },
    { ...secure, sink: oidc("wrong-secret-4"), secrets: ["wrong-secret-4", basic("wrong-secret-4")] },
    { ...secure, sink: token(good), secrets: [good, good.split(".")[2]!] },
    { ...secure, sink: token(ended), secrets: [ended, ended.split(".")[2]!] },
    {
      ...secure,
      sink: `sasl = { enabled = true, mechanism = "AWS_MSK_IAM", aws.region = "eu-west-1" }\n${tls()}`,
      env: aws,
      secrets: ["aws-secret-key-11", "aws-session-12"],
    },
    {
      listener: "SSL",
      sink:
        `[sinks.out.tls]\nenabled = true\nca_file = "${files.ca}"\ncrt_file = "${files.clientP12}"\nkey_pass = "key-secret"\n`,
      secrets: ["key-secret", "PRIVATE KEY"],
    },
  ];
  for (const each of cases) {
    await using dir = tempDir("secrets");
    const outputs = await outputsOf(each, dir);
    expect(outputs.length).toBeGreaterThan(10_000);
    if (!each.sink.includes("AWS_MSK_IAM")) expect(outputs, each.sink).toContain("***");
    for (const secret of each.secrets) expect(outputs, each.sink).not.toContain(secret);
  }
}, 240_000);
