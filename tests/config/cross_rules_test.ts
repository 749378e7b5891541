import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { loadConfig } from "../../src/config/load.ts";
import type { Option, OptionGroup } from "../../src/config/option.ts";
import { allGroups } from "../../src/config/schema.ts";
import { completeConfig, withExample } from "./complete_config.ts";
import { BAD_FOLDER } from "./fixtures.ts";

/** Rules between options and tables, each with the fixture that shows it and the first line that it prints. */
const RULES: readonly (readonly [what: string, fixture: string, line: RegExp])[] = [
  ["a sink without inputs", "missing_key_inputs", /^error\[missing-key\]: .*"inputs"/mu],
  ["a sink whose inputs are empty", "out_of_range_no_inputs", /^error\[out-of-range\]: .*"inputs"/mu],
  ["an input that names nothing", "unknown_input_far", /^error\[unknown-input\]: /mu],
  [
    "an input that names a sink: no cycle can be written",
    "unknown_input_cycle",
    /^error\[unknown-input\]: /mu,
  ],
  ["a source that no sink reads", "unread_source", /^warning\[unread-source\]: /mu],
  [
    "only_fields with except_fields",
    "conflict_field_lists",
    /^error\[conflict\]: .*only_fields.*except_fields/mu,
  ],
  [
    "a disk buffer without max_size",
    "missing_key_buffer_size",
    /^error\[missing-key\]: .*"buffer\.max_size"/mu,
  ],
  ["exactly_once with other acks", "conflict_delivery", /^error\[conflict\]: .*exactly_once.*acks/mu],
  [
    "transactional with other acks",
    "conflict_delivery_transactional",
    /^error\[conflict\]: .*transactional.*acks/mu,
  ],
  [
    "a batch beyond the largest message",
    "unused_option_batch_size",
    /^warning\[unused-option\]: .*batch\.max_bytes/mu,
  ],
  ["two file sources on the same files", "shared_files", /^warning\[shared-files\]: /mu],
  [
    "a topic of a field that is not there",
    "absent_field_topic",
    /^error\[absent-field\]: |^warning\[absent-field\]: /mu,
  ],
  ["a key of a field that is not there", "absent_field", /^warning\[absent-field\]: /mu],
  [
    "crt_file without key_file",
    "incomplete_certificate",
    /^error\[incomplete-certificate\]: .*"tls\.crt_file"/mu,
  ],
  [
    "key_file without crt_file",
    "incomplete_certificate_key",
    /^error\[incomplete-certificate\]: .*"tls\.key_file"/mu,
  ],
  ["a login without mechanism and user", "missing_key_sasl", /^error\[missing-key\]: .*"sasl\.mechanism"/mu],
  ["a password in the clear", "insecure_sasl", /^warning\[insecure-sasl\]: /mu],
  ["certificates without TLS", "unused_option_tls", /^warning\[unused-option\]: .*tls\.enabled/mu],
  [
    "properties that mean nothing here",
    "unused_option_property",
    /^warning\[unused-option\]: .*librdkafka_options/mu,
  ],
  [
    "files of secrets without effect",
    "unused_option_secret_file",
    /^warning\[unused-option\]: .*"sasl\.password"/mu,
  ],
  [
    "events too old for their batch",
    "conflict_message_timeout",
    /^error\[conflict\]: .*message_timeout_ms.*batch\.timeout_ms/mu,
  ],
  [
    "attempts that nobody answers",
    "unused_option_max_attempts",
    /^warning\[unused-option\]: .*retry\.max_attempts/mu,
  ],
  [
    "times to connect that shrink",
    "conflict_connect_timeouts",
    /^error\[conflict\]: .*connect_timeout_max_ms/mu,
  ],
];

describe("a rule has a fixture for", () => {
  for (const [what, fixture, line] of RULES) {
    test(what, () => {
      expect(readFileSync(new URL(`${fixture}.txt`, BAD_FOLDER), "utf8")).toMatch(line);
    });
  }
});

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };
const ENV = { KAFKA_PASSWORD: "p", KEY_PASS: "k" };

/** The key with two of its last letters swapped, or one taken away where they are the same. */
function misspell(key: string): string {
  const [a, b] = [key.at(-3)!, key.at(-2)!];
  return a === b || a === "." || b === "." || a === "_" || b === "_"
    ? key.slice(0, -2) + key.slice(-1)
    : key.slice(0, -3) + b + a + key.slice(-1);
}

/** A configuration whose only mistake is the spelling of this key. */
function withMistake(group: OptionGroup, key: string, option: Option<unknown>): string {
  const spelling = misspell(key);
  return option.required
    ? completeConfig(group, key, `${spelling} = ${option.example}\n`)
    : withExample(group, key, option, { spelling });
}

test("a misspelt key is one mistake: what it should say is not reported missing, nor what depends on it", () => {
  let count = 0;
  for (const group of allGroups) {
    for (const [key, option] of Object.entries(group.options)) {
      const text = withMistake(group, key, option);
      const { diagnostics } = loadConfig([{ path: "x.toml", text }], ENV, CONTEXT);
      const said = `${group.title}: ${text}${diagnostics.map((each) => each.message).join("\n")}`;
      expect(diagnostics.map((each) => each.code), said).toEqual(["unknown-key"]);
      expect(diagnostics[0]!.hint, said).toContain(key);
      count++;
    }
  }
  expect(count).toBeGreaterThan(70);
});
