import { describe, expect, test } from "bun:test";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { loadConfig } from "../../src/config/load.ts";

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };
const SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule";
const PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule";

const ENV: Readonly<Record<string, string>> = {
  PASSWORD: `a"b\\c;d $x`,
  JAAS: `${PLAIN} required username="me" password="p$\{PASSWORD}";`,
};

function load(lines: string) {
  const text = `[sources.app]
type = "file"
include = ["/x"]
[sinks.s]
type = "kafka"
inputs = ["app"]
topic = "logs"
bootstrap_servers = "k:9092"
${lines}`;
  const { config, diagnostics } = loadConfig([{ path: "x.toml", text }], ENV, CONTEXT);
  return {
    sink: config === null ? null : config.sinks[0] as KafkaSinkConfig,
    diagnostics,
    text: renderDiagnostics(diagnostics, { color: false }),
  };
}

const LOGIN = 'sasl.mechanism = "SCRAM-SHA-512"\nsasl.username = "u"\nsasl.password = "p"\n';

describe("security_protocol", () => {
  test("is TLS and login in one word, in any case", () => {
    const cases = [
      ["PLAINTEXT", false, false],
      ["SSL", true, false],
      ["SASL_PLAINTEXT", false, true],
      ["sasl_ssl", true, true],
    ] as const;
    for (const [protocol, hasTls, hasSasl] of cases) {
      const { sink, text } = load(`security_protocol = "${protocol}"\n${hasSasl ? LOGIN : ""}`);
      expect(text, protocol).toBe("");
      expect([sink!.tls !== null, sink!.sasl !== null], protocol).toEqual([hasTls, hasSasl]);
    }
  });

  test("may stand beside what it says", () => {
    expect(load(`security_protocol = "SASL_SSL"\ntls.enabled = true\nsasl.enabled = true\n${LOGIN}`).text)
      .toBe("");
  });

  test("is in the way of what it does not say, whichever comes first", () => {
    for (
      const [protocol, lines] of [["PLAINTEXT", "tls.enabled = true\n"], [
        "SASL_SSL",
        "sasl.enabled = false\n",
      ]]
    ) {
      const word = `security_protocol = "${protocol}"\n`;
      for (const text of [word + lines, lines + word]) {
        const conflicts = load(text + (protocol === "SASL_SSL" ? LOGIN : "")).diagnostics.filter((each) =>
          each.code === "conflict"
        );
        expect(conflicts.map((each) => [each.snippet!.line, each.related[0]!.line]), text).toEqual([[10, 9]]);
      }
    }
  });

  test("switches on what is checked then: a certificate needs its key, a login its user", () => {
    expect(load('security_protocol = "SSL"\ntls.crt_file = "/c"\n').diagnostics.map((each) => each.code))
      .toEqual([
        "incomplete-certificate",
      ]);
    expect(load('security_protocol = "SASL_SSL"\n').diagnostics.map((each) => each.code)).toEqual([
      "missing-key",
      "missing-key",
      "missing-key",
    ]);
  });

  test("leads to no second error where it is wrong itself", () => {
    const { diagnostics } = load(`security_protocol = "TLS"\ntls.enabled = true\ntls.ca_file = "/ca"\n`);
    expect(diagnostics.map((each) => each.code)).toEqual(["bad-choice"]);
  });
});

describe("sasl.jaas_config", () => {
  const jaas = (text: string) => `sasl.jaas_config = '${text}'\n`;

  test("gives user and password, and PLAIN its mechanism", () => {
    const scram = load(
      `security_protocol = "SASL_SSL"\nsasl.mechanism = "SCRAM-SHA-256"\n${
        jaas(`${SCRAM} required username="me" password="pw";`)
      }`,
    );
    expect(scram.text).toBe("");
    expect(scram.sink!.sasl).toEqual({ mechanism: "SCRAM-SHA-256", username: "me", password: "pw" });
    const plain = load(
      `security_protocol = "SASL_SSL"\n${jaas(`${PLAIN} required username="me" password="pw";`)}`,
    );
    expect(plain.text).toBe("");
    expect(plain.sink!.sasl).toEqual({ mechanism: "PLAIN", username: "me", password: "pw" });
  });

  test("does not say which SCRAM: that one is asked for", () => {
    const { text } = load(
      `security_protocol = "SASL_SSL"\n${jaas(`${SCRAM} required username="me" password="pw";`)}`,
    );
    expect(text).toContain('requires the option "sasl.mechanism"');
  });

  test("takes a variable inside of quotes as it is, and one that stands for all as JAAS", () => {
    const inside = load(
      `security_protocol = "SASL_SSL"\n${jaas(`${PLAIN} required username="me" password="\${PASSWORD}";`)}`,
    );
    expect(inside.sink!.sasl).toMatchObject({ password: ENV["PASSWORD"]! });
    const alone = load(`security_protocol = "SASL_SSL"\nsasl.jaas_config = "\${JAAS}"\n`);
    expect(alone.sink!.sasl).toEqual({ mechanism: "PLAIN", username: "me", password: "p${PASSWORD}" });
    const dollar = load(
      `security_protocol = "SASL_SSL"\n${jaas(`${PLAIN} required username="me" password="a$$b";`)}`,
    );
    expect(dollar.sink!.sasl).toMatchObject({ password: "a$b" });
  });

  test("may repeat user, password and mechanism, and may not contradict them", () => {
    const same = `security_protocol = "SASL_SSL"\n${LOGIN}${
      jaas(`${SCRAM} required username="u" password="p";`)
    }`;
    expect(load(same).text).toBe("");
    const others = [
      [jaas(`${SCRAM} required username="x" password="p";`), 11],
      [jaas(`${SCRAM} required username="u" password="hunter2";`), 12],
      [jaas(`${PLAIN} required username="u" password="p";`), 10],
    ] as const;
    for (const [text, line] of others) {
      const { diagnostics, text: rendered } = load(`security_protocol = "SASL_SSL"\n${LOGIN}${text}`);
      expect(diagnostics.map((each) => [each.code, each.snippet!.line, each.related[0]!.line]), text).toEqual(
        [
          ["conflict", 13, line],
        ],
      );
      expect(rendered).not.toContain("hunter2");
    }
  });

  test("is hidden in every diagnostic, whatever is wrong with it", () => {
    const texts = [
      `${SCRAM} required username="hunter2" password="hunter2"`,
      `${SCRAM} required username="hunter2" password="hunter2" hunter2="hunter2";`,
      `${PLAIN} required username="hunter2" password="hunter2\${NOT_SET}";`,
      "hunter2",
    ];
    for (
      const key of ["sasl.jaas_config", 'librdkafka_options."sasl.jaas.config"', "sasl.jaas_confg", "jaas"]
    ) {
      for (const text of texts) {
        const { sink, text: rendered } = load(`security_protocol = "SASL_SSL"\n${key} = '${text}'\n`);
        expect(sink, key).toBeNull();
        expect(rendered, `${key} = ${text}`).not.toContain("hunter2");
      }
    }
  });

  test("leads to no second error where it is wrong itself", () => {
    const { diagnostics } = load(`security_protocol = "SASL_SSL"\nsasl.mechanism = "PLAIN"\n${jaas("x")}`);
    expect(diagnostics.map((each) => each.code)).toEqual(["bad-value"]);
  });
});
