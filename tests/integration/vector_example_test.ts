import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, readFileSync } from "node:fs";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

// The example of all options in Vector's document of its Kafka sink, as it stands there but for addresses and a list, at a real broker.

const EXAMPLE = readFileSync(new URL("../config/vector_advanced.toml", import.meta.url), "utf8");
const ADDRESSES = "10.14.22.123:9092,10.14.23.332:9092";
const ENV = { ENV_VAR: "edge-7", KEY_PASS_ENV_VAR: "hunter2" };
const CLUSTER_TIMEOUT_MS = 120_000;

let own: OwnCluster;
beforeAll(async () => {
  own = await ownCluster({ security: "sasl_ssl", acl: true });
  // Who the example logs in as, and the topic that it names.
  await own.kafka.setScram("username", "SCRAM-SHA-256", "password");
  await own.kafka.createTopic({ name: "topic-1234" });
  for (const resource of ["topic", "cluster"] as const) {
    const name = resource === "topic" ? "topic-1234" : "kafka-cluster";
    await own.kafka.addAcl({ user: "username", resource, name, operation: "all" });
  }
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

/** The example with its addresses changed, without one of the two lists, and a source. */
function config(folder: string, log: string, list: string | null): string {
  const lines = EXAMPLE.replace(ADDRESSES, own.kafka.listeners.SASL_PLAINTEXT!).split("\n")
    .filter((line) => list === null || !line.trimStart().startsWith(`${list} = `));
  expect(lines).toHaveLength(EXAMPLE.split("\n").length - (list === null ? 0 : 1));
  return `data_dir = ${JSON.stringify(folder)}
${lines.join("\n")}
[sources.my-source-or-transform-id]
type = "file"
include = [${JSON.stringify(log)}]
decoding.codec = "json"
`;
}

test("the example ships, whichever of its two lists of fields is removed", async () => {
  await using dir = tempDir("vector");
  const log = dir.file("app.log");
  let count = 0;
  for (const list of ["encoding.only_fields", "encoding.except_fields"]) {
    for (let i = 0; i < 5; i++) {
      appendFileSync(log, `{"message":"line ${count}","user_id":"user ${count++ % 3}"}\n`);
    }
    const text = config(dir.file("data"), log, list);
    await using shipper = startShipper({ config: text, env: ENV });
    const records = await own.kafka.waitForRecords("topic-1234", count);
    // Text is the field "message", which the first configuration's except_fields takes away.
    expect(records.map(({ key, value }) => [String(key), String(value)])).toEqual(
      Array.from({ length: count }, (_, i) => [`user ${i % 3}`, i < 5 ? "" : `line ${i}`]),
    );
    shipper.signal("SIGTERM");
    const exit = await shipper.waitForExit();
    expect(exit).toMatchObject({ code: 0, signal: null });
    // Certificates that are switched off are not opened: the files are nowhere.
    expect(exit.stderr).toContain(
      'Options "tls.ca_file", "tls.crt_file", "tls.key_file", "tls.key_pass" have no effect',
    );
    expect(exit.stderr).not.toContain("hunter2");
  }
}, 120_000);

test("as it stands it is refused for its two lists, and for nothing else", async () => {
  await using dir = tempDir("vector");
  const exit = await runShipper({ config: config(dir.file("data"), dir.file("app.log"), null), env: ENV });
  expect(exit.code).toBe(78);
  expect(exit.stderr.match(/^error\[.*$/gmu)).toEqual([
    'error[conflict]: Cannot use "encoding.only_fields" with "encoding.except_fields": one names what is encoded, the other what is not',
  ]);
}, 90_000);
