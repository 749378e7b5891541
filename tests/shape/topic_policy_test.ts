import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { TopicPolicyConfig } from "../../src/config/config.ts";
import { checkTopic, checkTopicPattern } from "../../src/config/string_checks.ts";
import { isTopicName } from "../../src/shape/template.ts";
import { TopicPolicy } from "../../src/shape/topic_policy.ts";
import { chunkOf } from "../decode/chunks.ts";
import { seenOf, shape, shaperOf } from "./shape_text.ts";

const policy = (more: Partial<TopicPolicyConfig> = {}): TopicPolicyConfig => ({
  allowed: null,
  fallback: null,
  reserved: [],
  ...more,
});

const allows = (topic: string, more: Partial<TopicPolicyConfig> = {}, prefix = "") =>
  new TopicPolicy(policy(more), prefix).allows(topic);

describe("allowed topics", () => {
  test("are names, in which a star is any text and nothing else means anything", () => {
    const allowed = ["logs-*", "a.b", "*-x", "mid*dle"];
    const wanted = ["logs-", "logs-a.b", "a.b", "-x", "y-x", "middle", "mid-dle"];
    for (const topic of wanted) expect(allows(topic, { allowed }), topic).toBe(true);
    for (const topic of ["logs", "xlogs-a", "aXb", "a.bc", "x-", "midle", "__x-x"]) {
      expect(allows(topic, { allowed }), topic).toBe(false);
    }
    expect(allows("__a", { allowed: ["__a"] })).toBe(true);
  });

  test("leave out Kafka's own, unless the configuration names them, and those that hold positions", () => {
    expect([allows("__consumer_offsets"), allows("_x"), allows("x")]).toEqual([false, true, true]);
    expect(allows("__x-1", {}, "__x-")).toBe(true);
    expect(allows("positions", { reserved: ["positions"] })).toBe(false);
    expect(allows("positions", { reserved: ["positions"], allowed: ["*"] })).toBe(false);
  });

  test("may be any patterns that the configuration takes", () => {
    const text = fc.string({
      unit: fc.constantFrom("a", "b", ".", "-", "_", "*", "+", "(", "\\", "$", " "),
      maxLength: 8,
    });
    fc.assert(fc.property(text, text, (pattern, topic) => {
      if (checkTopicPattern(pattern) !== null) return;
      const parts = pattern.split("*");
      // Matching by hand: each part in its order, the first at the start, the last at the end.
      const matches = (rest: string, left: readonly string[]): boolean => {
        const [first, ...others] = left;
        if (others.length === 0) return rest.endsWith(first!);
        for (let at = 0; at <= rest.length; at++) {
          if (rest.startsWith(first!, at) && matches(rest.slice(at + first!.length), others)) return true;
        }
        return false;
      };
      const [first, ...others] = parts;
      const wanted = others.length === 0
        ? topic === first
        : topic.startsWith(first!) && matches(topic.slice(first!.length), others);
      const isInternal = pattern.startsWith("*") && topic.startsWith("__");
      expect(allows(topic, { allowed: [pattern] }), `${pattern} ${topic}`).toBe(wanted && !isInternal);
    }));
  });
});

describe("events without a topic", () => {
  const lines = ["ok", "no/name", "", ".", "x".repeat(250), "other", "__consumer_offsets"];
  const text = lines.map((t) => JSON.stringify({ t }) + "\n").join("") + "{}\nplain\n";

  for (const decode of ["json", "text"] as const) {
    test(`of ${decode} are refused by reason`, () => {
      const topicPolicy = policy({ allowed: ["t-*", "*o*", "__*"].slice(1, 2) });
      const [topic, content] = decode === "json" ? ["{{t}}", text] : ["{{message}}", lines.join("\n") + "\n"];
      const { batch, refused, fallbacks } = shape(shaperOf({ decode, topic, topicPolicy }), chunkOf(content));
      expect(seenOf(batch!).topics).toEqual(["ok", "other"]);
      expect(fallbacks).toEqual([]);
      expect(Object.fromEntries(refused.map((each) => [each.reason, each.lines]))).toEqual({
        topic_invalid: [1, 2, 3, 4],
        topic_not_allowed: [6],
        ...(decode === "json" ? { template_error: [7, 8] } : {}),
      });
    });

    test(`of ${decode} go to the fallback topic, counted by reason, in their order`, () => {
      const topicPolicy = policy({ fallback: "rest" });
      const [topic, content] = decode === "json" ? ["{{t}}", text] : ["{{message}}", lines.join("\n") + "\n"];
      const shaper = shaperOf({ decode, topic, topicPolicy });
      const { batch, refused, fallbacks } = shape(shaper, chunkOf(content));
      const wanted = ["ok", "rest", "rest", "rest", "rest", "other", "rest"];
      expect(seenOf(batch!).topics).toEqual(decode === "json" ? [...wanted, "rest", "rest"] : wanted);
      expect(refused).toEqual([]);
      expect(Object.fromEntries(fallbacks.map((each) => [each.reason, each.count]))).toEqual({
        topic_invalid: 4,
        topic_not_allowed: 1,
        ...(decode === "json" ? { template_error: 2 } : {}),
      });
      // Each is told once.
      expect(shape(shaper, chunkOf(decode === "json" ? '{"t":"ok"}\n' : "ok\n")).fallbacks).toEqual([]);
    });
  }

  test("because of what they all have are all refused, or all fall back", () => {
    const setup = { topic: "t-{{file}}" };
    expect(shape(shaperOf(setup), chunkOf("a\nb\nc\n"))).toEqual({
      batch: null,
      refused: [{ reason: "topic_invalid", lines: [0, 1, 2] }],
      fallbacks: [],
      droppedCount: 3,
    });
    const { batch, fallbacks } = shape(
      shaperOf({ ...setup, topicPolicy: policy({ fallback: "rest" }) }),
      chunkOf("a\nb\nc\n"),
    );
    expect(seenOf(batch!).topics).toEqual(["rest", "rest", "rest"]);
    expect(fallbacks).toEqual([{ reason: "topic_invalid", count: 3 }]);
  });
});

/** What somebody may write who wants to reach another topic, key or header. */
const hostile = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.constantFrom(
    "__consumer_offsets",
    "__transaction_state",
    "__shipper_positions",
    "payments",
    "../payments",
    "..",
    ".",
    "logs-",
    "-",
    "{{t}}",
    "%Y",
    "logs-a\u0000payments",
    "logs-a\npayments",
    "logs-a,payments",
    "a".repeat(300),
    "logs-\u202epayments",
    "LOGS-a",
    "logs-é",
    "positions",
    "*",
    "logs-*",
  ),
);
const hostileLine = fc.oneof(
  fc.record({
    t: hostile,
    topic: hostile,
    host: hostile,
    file: hostile,
    timestamp: hostile,
    "__proto__": hostile,
  }, { requiredKeys: [] })
    .map((fields) => JSON.stringify(fields)),
  fc.tuple(hostile, fc.jsonValue()).map(([name, value]) => JSON.stringify({ [name]: value, t: value })),
  hostile.map((text) => text.replaceAll("\n", " ")),
  hostile.map((text) => `{"t":"logs-x","t":${JSON.stringify(text)}}`),
);

test("whatever is in the lines: no topic outside of what is allowed, no header or key of another make", () => {
  const setups = fc.record({
    decode: fc.constantFrom("text" as const, "json" as const),
    codec: fc.constantFrom("text" as const, "json" as const, "raw" as const),
    topic: fc.constantFrom(
      "logs-{{t}}",
      "{{t}}",
      "%Y{{t}}",
      "{{message}}",
      "logs-{{message}}-x",
      "{{host}}-{{t}}",
      "{{__proto__}}",
    ),
    allowed: fc.constantFrom(null, ["logs-*"], ["*"], ["payments", "a*"]),
    fallback: fc.constantFrom(null, "rest"),
  });
  fc.assert(
    fc.property(setups, fc.array(hostileLine, { minLength: 1, maxLength: 12 }), (setup, lines) => {
      const { allowed, fallback, ...rest } = setup;
      const reserved = ["positions"];
      const headers = [{ name: "h", value: "{{t}}" }, { name: "m", value: "{{message}}" }];
      const shaper = shaperOf({
        ...rest,
        headers,
        key: "{{t}}!",
        topicPolicy: { allowed, fallback, reserved },
      });
      const { batch, refused } = shape(shaper, chunkOf(lines.map((line) => line + "\n").join("")));
      const count = lines.join("\n").split("\n").length;
      expect((batch?.count ?? 0) + refused.reduce((sum, each) => sum + each.lines.length, 0)).toBe(count);
      if (batch === null) return;
      const seen = seenOf(batch);
      for (const topic of seen.topics) {
        if (topic === fallback) continue;
        expect(isTopicName(topic) && checkTopic(topic) === null, topic).toBe(true);
        expect(reserved).not.toContain(topic);
        if (rest.topic.startsWith("logs-")) expect(topic.startsWith("logs-"), topic).toBe(true);
        if (allowed === null || allowed[0] === "*") expect(topic.startsWith("__"), topic).toBe(false);
        else if (allowed[0] === "logs-*") expect(topic.startsWith("logs-"), topic).toBe(true);
        else expect(topic === "payments" || topic.startsWith("a"), topic).toBe(true);
      }
      for (const each of seen.headers ?? []) {
        for (const [name] of each) expect(["h", "m"]).toContain(name);
        expect(each.length).toBeLessThanOrEqual(2);
      }
      for (const key of seen.keys!) if (key !== null) expect(key.endsWith("!")).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
