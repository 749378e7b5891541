import { describe, expect, test } from "bun:test";
import { derivedOf, effectiveConfig, type EffectiveOption } from "../../src/config/effective.ts";
import { loadConfig } from "../../src/config/load.ts";
import { tomlText } from "../../src/config/toml_text.ts";
import { allGroups } from "../../src/config/schema.ts";

const CONTEXT = { hostname: "edge-7", isRoot: true, home: "/root", xdgStateHome: undefined };
const SOURCE = '[sources.app]\ntype = "file"\ninclude = ["/x"]\n';
const SINK = '[sinks.out]\ntype = "kafka"\ninputs = ["app"]\nbootstrap_servers = "a:1"\ntopic = "t"\n';

function tables(text: string, env: Record<string, string> = {}) {
  const { config, checked } = loadConfig([{ path: "c.toml", text }], env, CONTEXT);
  return effectiveConfig(config!, checked!, env);
}

/** An option of the sink, which has `lines`. */
function option(key: string, lines: string, env: Record<string, string> = {}): EffectiveOption {
  const sink = tables(`${SINK}${lines}\n${SOURCE}`, env).find((each) => each.table === "sinks.out")!;
  return sink.options.find((each) => each.key === key)!;
}

describe("where a value comes from", () => {
  test("the file, by line and column", () => {
    expect(option("topic", "")).toMatchObject({
      value: "t",
      isMasked: false,
      origin: {
        kind: "file",
        path: "c.toml",
        line: 5,
        column: 1,
        key: "topic",
        variables: [],
        defaulted: [],
        secretFile: null,
      },
    });
  });

  test("another name of the option", () => {
    expect(option("batch.timeout_ms", "linger_ms = 7")).toMatchObject({
      value: 7,
      origin: { key: "linger_ms", line: 6 },
    });
  });

  test("variables, and defaults of those that are not set", () => {
    const line = 'batch.timeout_ms = "${A:-${B:-9}}"';
    expect(option("batch.timeout_ms", line, { A: "3" })).toMatchObject({
      value: 3,
      origin: { variables: ["A"], defaulted: [] },
    });
    expect(option("batch.timeout_ms", line, { B: "4" })).toMatchObject({
      value: 4,
      origin: { variables: ["B"], defaulted: ["A"] },
    });
    expect(option("batch.timeout_ms", line, { A: "" })).toMatchObject({
      value: 9,
      origin: { variables: [], defaulted: ["A", "B"] },
    });
    const list = option("bootstrap_servers", 'encoding.only_fields = ["${F}", "x${G}", "${F}"]', {
      F: "f",
      G: "g",
    });
    expect(list.value).toEqual(["a:1"]);
    expect(option("encoding.only_fields", 'encoding.only_fields = ["${F}", "x${G}", "${F}"]', {
      F: "f",
      G: "g",
    })).toMatchObject({ value: ["f", "xg", "f"], origin: { variables: ["F", "G"] } });
  });

  test("a table of texts, in which a secret is masked", () => {
    const line = 'headers = { a = "x${A}", "b.c" = "{{b}}" }';
    expect(option("headers", line, { A: "1" })).toMatchObject({
      value: [["a", "x1"], ["b.c", "{{b}}"]],
      isMasked: false,
      origin: { variables: ["A"] },
    });
    const secret = option("headers", line.replaceAll("${A}", "${A_TOKEN}"), { A_TOKEN: "hunter2" });
    expect(secret).toMatchObject({ value: [["a", "x***"], ["b.c", "{{b}}"]], isMasked: true });
    expect(tomlText(secret.value)).toBe('{ "a" = "x***", "b.c" = "{{b}}" }');
  });

  test("the default, which may depend on other options", () => {
    const of = (key: string, lines: string) => {
      const { value, origin } = option(key, lines);
      expect(origin).toEqual({ kind: "default" });
      return value;
    };
    expect(of("acks", "")).toBe("all");
    expect(of("delivery", "")).toBe("exactly_once");
    expect(of("delivery", 'acks = "one"')).toBe("at_least_once");
    expect(of("partitioner", "")).toBe("sticky");
    expect(of("partitioner", 'key_field = "k"')).toBe("murmur2_random");
    expect(of("partitioner", 'key = "{{k}}-{{j}}"')).toBe("murmur2_random");
    expect(of("partitioner", 'partition_field = "host"')).toBe("field");
    expect(of("client_id", "")).toBe("shipper-edge-7-out");
    expect(of("compression_level", "")).toBe(null);
    expect(of("compression_level", 'compression = "zstd"')).toBe(1);
    expect(of("request_timeout_ms", "socket_timeout_ms = 9000")).toBe(9_000);
    expect(of("buffer.max_size", "")).toBe(67_108_864);
    expect(of("tls.ca_file", "")).toBe(null);
  });

  test("every table is there, with every option; [api] alone only when it is written", () => {
    const names = tables(`${SINK}${SOURCE}[sources.idle]\ntype = "stdin"\n`).map((each) => each.table);
    expect(names).toEqual(["", "log", "sources.app", "sources.idle", "sinks.out"]);
    const all = tables(`[api]\n${SINK}${SOURCE}[sources.idle]\ntype = "stdin"\n`);
    expect(all.map((each) => [each.table, each.isUsed])).toContainEqual(["sources.idle", false]);
    for (const { table, type, options } of all) {
      const group = allGroups.find((each) => each.type === type && (type !== null || each.table === table))!;
      expect(options.map((each) => each.key), table).toEqual(Object.keys(group.options));
    }
    expect(all[0]!.options[0]).toMatchObject({ key: "data_dir", value: "/var/lib/shipper" });
  });

  test("every default that the docs call a value is shown as one", () => {
    const { config, checked } = loadConfig([{ path: "c.toml", text: SINK + SOURCE }], {}, CONTEXT);
    const derived = ["data_dir", ...Object.keys(derivedOf(config!.sinks[0]!))];
    for (const { key, option } of effectiveConfig(config!, checked!, {}).flatMap((each) => each.options)) {
      // "`30000`, or ..." is a value, "none" and "the system's certificate authorities" are not.
      if (option.default !== null || option.defaultText?.startsWith("`") !== true) continue;
      expect(derived, "name it in derivedOf (src/config/effective.ts)").toContain(key);
    }
    const all = tables(`[api]\n${SINK}compression = "zstd"\ngap_markers = true\n${SOURCE}`);
    const sink = all.find((each) => each.table === "sinks.out")!;
    for (const key of ["compression_level", "gap_markers_topic", "partitioner", "request_timeout_ms"]) {
      expect(sink.options.find((each) => each.key === key)!.value, key).not.toBeNull();
    }
  });
});

describe("secrets", () => {
  const LOGIN = 'sasl.enabled = true\nsasl.mechanism = "PLAIN"\nsasl.username = "u"\n';

  test("a secret option is masked, whatever it is written as", () => {
    for (const value of ['"hunter2"', "'hunter2'", '"${P}"', '"x${P:-hunter2}"', '"${Q:-hunter2}"']) {
      const found = option("sasl.password", `${LOGIN}sasl.password = ${value}`, { P: "hunter2" });
      expect(found, value).toMatchObject({ value: "***", isMasked: true });
    }
  });

  test("a variable that a secret option takes is masked inside of other strings", () => {
    const lines =
      `${LOGIN}sasl.password = "\${LOGIN}"\nclient_id = "x-\${LOGIN}-y"\ntls.server_name = "\${LOGIN}"`;
    const env = { LOGIN: "ab" };
    expect(option("client_id", lines, env)).toMatchObject({ value: "x-***-y", isMasked: true });
    expect(option("client_id", lines, env).origin).toMatchObject({ variables: ["LOGIN"] });
    expect(option("tls.server_name", lines, env)).toMatchObject({ value: "***", isMasked: true });
  });

  test("a variable whose name tells is masked, in texts, lists, numbers and choices", () => {
    const env = { MY_TOKEN: "abc", API_KEY_LIMIT: "17", SECRET_CODEC: "zstd" };
    expect(option("client_id", 'client_id = "a-${MY_TOKEN}"', env).value).toBe("a-***");
    const list = 'encoding.only_fields = ["a", "f${MY_TOKEN}"]';
    expect(option("encoding.only_fields", list, env)).toMatchObject({ value: ["a", "f***"], isMasked: true });
    expect(option("batch.max_events", 'batch.max_events = "${API_KEY_LIMIT}"', env)).toMatchObject({
      value: "***",
      isMasked: true,
    });
    expect(option("compression", 'compression = "${SECRET_CODEC}"', env).value).toBe("***");
  });

  test("the value of a secret is masked where it happens to stand, also in what is derived from it", () => {
    const lines = `${LOGIN}sasl.password = "hunter2"\nclient_id = "hunter2-x"\nbatch.max_events = 7`;
    expect(option("client_id", lines)).toMatchObject({ value: "***-x", isMasked: true });
    const env = { DB_PASSWORD: "edge-7" };
    const derived = option("client_id", 'encoding.only_fields = "${DB_PASSWORD}"', env);
    expect(derived).toMatchObject({ value: "shipper-***-out", origin: { kind: "default" } });
  });

  test("of a JAAS text the user is shown, and its password nowhere", () => {
    const jaas = (password: string, user = "me") =>
      `sasl.enabled = true\ntls.enabled = true\nclient_id = "x-hunter2"\n` +
      `sasl.jaas_config = 'x.PlainLoginModule required username="${user}" password="${password}";'`;
    for (const password of ["hunter2", "${P}"]) {
      const of = (key: string) => option(key, jaas(password), { P: "hunter2" });
      expect(of("sasl.username"), password).toMatchObject({ value: "me", isMasked: false });
      expect(of("sasl.mechanism"), password).toMatchObject({ value: "PLAIN", isMasked: false });
      for (const key of ["sasl.jaas_config", "sasl.password"]) {
        expect(of(key), key).toMatchObject({ value: "***", isMasked: true });
      }
      expect(of("client_id"), password).toMatchObject({ value: "x-***", isMasked: true });
    }
    const short = option("sasl.username", jaas("p", "a${P}"), { P: "x" });
    expect(short).toMatchObject({ value: "***", isMasked: true });
  });

  test("a property of another client is as secret as the option that it stands for", () => {
    const lines = `${LOGIN}librdkafka_options."sasl.password" = 40711\nclient_id = "c-40711"`;
    expect(option("sasl.password", lines)).toMatchObject({
      value: "***",
      isMasked: true,
      origin: { key: "librdkafka_options.sasl.password" },
    });
    expect(option("client_id", lines).value).toBe("c-***");
  });

  test("the text of a private key is masked, the path of one is not", () => {
    const key = '"""-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----"""';
    const lines = (value: string) => `tls.enabled = true\ntls.crt_file = "/c"\ntls.key_file = ${value}`;
    expect(option("tls.key_file", lines(key))).toMatchObject({ value: "***", isMasked: true });
    expect(option("tls.key_file", lines('"${PEM}"'), { PEM: "-----BEGIN RSA PRIVATE KEY-----\nMII" }).value)
      .toBe("***");
    expect(option("tls.key_file", lines('"/etc/k"'))).toMatchObject({ value: "/etc/k", isMasked: false });
  });

  test("an empty secret variable takes the same default as in the run", () => {
    const found = option("client_id", 'client_id = "a-${MY_TOKEN:-none}"', { MY_TOKEN: "" });
    expect(found).toMatchObject({ value: "a-none", isMasked: false });
  });
});
