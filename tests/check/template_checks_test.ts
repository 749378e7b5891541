import { describe, expect, test } from "bun:test";
import { type CheckResult, found, passed, placeOf } from "../../src/check/check_result.ts";
import type { ClusterView } from "../../src/check/cluster_view.ts";
import { checkPrefixRights, checkTemplate, condense, LISTED_MAX } from "../../src/check/template_checks.ts";
import {
  PREFIXES_MAX,
  type PrefixRights,
  TEMPLATE_TOPICS_MAX,
  TemplateScope,
  type TemplateTopics,
} from "../../src/check/template_scope.ts";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";

const WRITE = 1 << 4;
const CREATE = 1 << 5;
const DESCRIBE = 1 << 8;

const CONFIG = {
  name: "k",
  topic: "logs-{{unit}}",
  delivery: "at_least_once",
  topicsAutocreate: false,
  sasl: null,
} as unknown as KafkaSinkConfig;

function scope(topic: string, allowed: readonly string[] | null = null): TemplateScope {
  return new TemplateScope({ topic, topicPolicy: { allowed, fallback: null, reserved: ["logs-dead"] } });
}

const beginnings = (names: readonly string[]) =>
  names.map((name) => name.replace(/shipper-check-[0-9a-f]{12}$/u, ""));

describe("which topics are looked at", () => {
  const TOPICS = [
    "logs-web",
    "logs-db",
    "logs-dead",
    "__consumer_offsets",
    "other",
    "logs-2026.01-x",
    "logs-",
  ];

  test("those that the template may name and that are allowed", () => {
    expect(scope("logs-{{unit}}").choose(TOPICS)).toEqual(["logs-", "logs-2026.01-x", "logs-db", "logs-web"]);
    expect(scope("logs-%Y.%m-{{unit}}").choose(TOPICS)).toEqual(["logs-2026.01-x"]);
    expect(scope("{{team}}").choose(TOPICS)).toEqual([
      "logs-",
      "logs-2026.01-x",
      "logs-db",
      "logs-web",
      "other",
    ]);
    expect(scope("logs-{{unit}}", ["logs-w*", "other"]).choose(TOPICS)).toEqual(["logs-web"]);
  });

  test("whole names that are allowed and are not there are named", () => {
    const some = scope("logs-{{unit}}", ["logs-web", "logs-gone", "other-gone", "logs-x*"]);
    some.choose(TOPICS);
    expect(some.read([])).toMatchObject({ matching: ["logs-web"], absent: ["logs-gone"], prefixes: [] });
  });

  test("not more than so many", () => {
    const many = Array.from({ length: TEMPLATE_TOPICS_MAX + 3 }, (_, i) => `logs-${i}`);
    const all = scope("logs-{{unit}}");
    expect(all.choose(many)).toHaveLength(TEMPLATE_TOPICS_MAX);
    const template = all.read([]);
    expect(template.leftOutCount).toBe(3);
    expect(checkTemplate(CONFIG, template)[1]).toMatchObject({ status: "skipped", code: "too-many" });
  });

  test("rights are asked for with a name for each beginning", () => {
    expect(beginnings(scope("logs-{{unit}}").probes)).toEqual(["logs-"]);
    expect(beginnings(scope("{{unit}}").probes)).toEqual([""]);
    const allowed = ["logs-web*", "lo*", "logs-db", "*", "other*", "logs-web*x"];
    expect(beginnings(scope("logs-{{unit}}", allowed).probes)).toEqual(["logs-web", "logs-"]);
    const many = Array.from({ length: 2 * PREFIXES_MAX }, (_, i) => `logs-${i}-*`);
    expect(scope("logs-{{unit}}", many).probes).toHaveLength(PREFIXES_MAX);
    // Kafka knows no name that is longer.
    expect(scope(`${"x".repeat(240)}{{unit}}`).probes).toEqual([]);
  });
});

function template(rights: Partial<PrefixRights>, more: Partial<TemplateTopics> = {}): TemplateTopics {
  const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  const prefixes = [{ prefix: "logs-", errorCode: unknown, operations: null, ...rights }];
  return { matching: [], leftOutCount: 0, absent: [], prefixes, ...more };
}

function view(
  config: Partial<KafkaSinkConfig>,
  found: TemplateTopics,
  clusterOperations: number | null = null,
) {
  return { config: { ...CONFIG, ...config }, template: found, clusterOperations } as unknown as ClusterView;
}

describe("rights on what is not there yet", () => {
  const rights = (
    told: Partial<PrefixRights>,
    config: Partial<KafkaSinkConfig> = {},
    cluster: number | null = null,
  ) => checkPrefixRights(view(config, template(told), cluster), template(told));

  test("told by the brokers, or not", () => {
    expect(rights({ operations: WRITE | DESCRIBE })).toMatchObject([
      { check: "rights.prefix", status: "ok", target: "logs-" },
    ]);
    expect(rights({ operations: DESCRIBE })[0]).toMatchObject({
      status: "warning",
      message: expect.stringContaining('no right to WRITE on topics that begin with "logs-" as such'),
      hint:
        "kafka-acls --add --allow-principal User:... --operation Write --topic logs- --resource-pattern-type prefixed",
    });
    expect(rights({ operations: WRITE | DESCRIBE }, { delivery: "exactly_once" })[0]).toMatchObject({
      code: "no-read",
    });
    expect(rights({})[0]).toMatchObject({ status: "skipped", code: "not-told" });
    expect(rights({ errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED })[0]).toMatchObject({
      status: "warning",
      message: expect.stringContaining("no right to WRITE, DESCRIBE"),
    });
    expect(rights({ errorCode: ErrorCode.UNKNOWN_SERVER_ERROR })[0]).toMatchObject({ status: "skipped" });
    expect(rights({ prefix: "", operations: 0 })[0]).toMatchObject({
      message: expect.stringContaining("topics of any name"),
      hint: "kafka-acls --add --allow-principal User:... --operation Write --operation Describe --topic '*'",
    });
  });

  test("to create them: of the cluster, of the beginning, of neither, not told", () => {
    const created = { topicsAutocreate: true };
    expect(rights({}, created, CREATE)[1]).toMatchObject({ check: "rights.create", status: "ok" });
    expect(rights({ operations: WRITE | DESCRIBE | CREATE }, created)[1]).toMatchObject({ status: "ok" });
    expect(rights({ operations: WRITE | DESCRIBE }, created)[1]).toMatchObject({
      status: "warning",
      hint: expect.stringContaining("--operation Create --topic logs- --resource-pattern-type prefixed"),
    });
    expect(rights({}, created)[1]).toMatchObject({ status: "skipped", code: "not-told" });
  });
});

test("no topic yet is a warning, unless they are created", () => {
  expect(checkTemplate(CONFIG, template({}))).toMatchObject([{ status: "warning", code: "no-topic" }]);
  const creating = { ...CONFIG, topicsAutocreate: true };
  expect(checkTemplate(creating, template({}, { absent: ["logs-x"] }))).toMatchObject([{ status: "ok" }]);
  expect(checkTemplate(CONFIG, template({}, { matching: ["logs-a"], absent: ["logs-x"] }))).toMatchObject([
    { status: "ok", message: expect.stringContaining('1 topic matches "logs-{{unit}}": "logs-a"') },
    { status: "warning", code: "topic-unknown", message: expect.stringContaining('"logs-x"') },
  ]);
});

describe("many topics", () => {
  const matching = Array.from({ length: 40 }, (_, i) => `logs-${i}`);
  const at = (check: string, target: string) => placeOf(check, { sink: "k", target });
  const lines = (results: readonly CheckResult[], names = matching) =>
    condense(view({}, template({}, { matching: names })), results);

  test("have one line for what is as it should be, and a few for what is not", () => {
    const all = matching.map((name) => passed(at("topic.leaders", name), "x"));
    expect(lines(all)).toMatchObject([
      {
        check: "topic.leaders",
        status: "ok",
        target: "logs-{{unit}}",
        message: expect.stringContaining("all 40"),
      },
    ]);
    expect(lines(matching.map((name) => passed(at("topic.exists", name), "x")))).toEqual([]);
    const some = matching.map((name, i) =>
      i < 20
        ? passed(at("rights.topic", name), "x")
        : found(i < 39 ? "warning" : "failed", at("rights.topic", name), "c", `m ${i}`)
    );
    const told = lines(some);
    expect(told).toHaveLength(LISTED_MAX + 2);
    expect(told[0]).toMatchObject({ status: "ok", message: expect.stringContaining("20 of 40") });
    expect(told[1]).toMatchObject({ status: "warning", target: "logs-20", message: "m 20" });
    // The worst of those that are not listed says what their line is.
    expect(told.at(-1)).toMatchObject({ status: "failed", message: expect.stringContaining("of 10 more") });
  });

  test("leave other lines alone, and one topic its own", () => {
    const other = [passed(at("topic.leaders", "dead"), "x"), passed(placeOf("clock.host"), "y")];
    expect(lines(other)).toEqual(other);
    const one = [passed(at("topic.leaders", "logs-1"), "x")];
    expect(lines(one, ["logs-1"])).toEqual(one);
  });
});
