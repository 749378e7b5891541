import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { FileSourceConfig, KafkaSinkConfig } from "../../src/config/config.ts";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { type ConfigFile, loadConfig, type LoadContext } from "../../src/config/load.ts";

const CONTEXT: LoadContext = { hostname: "edge-7", isRoot: true, home: "/root", xdgStateHome: undefined };
const SOURCE = '[sources.app]\ntype = "file"\ninclude = ["/var/log/app/*.log"]\n';
const SINK =
  '[sinks.events]\ntype = "kafka"\ninputs = ["app"]\nbootstrap_servers = "localhost:9092"\ntopic = "logs"\n';

function load(text: string, env: Record<string, string> = {}, context: LoadContext = CONTEXT) {
  return loadConfig([{ path: "shipper.toml", text }], env, context);
}

/** The config of a text that must be good. */
function good(text: string, env: Record<string, string> = {}, context: LoadContext = CONTEXT) {
  const { config, diagnostics } = load(text, env, context);
  expect(renderDiagnostics(diagnostics, { color: false })).toBe("");
  return config!;
}

function kafka(options: string, env: Record<string, string> = {}): KafkaSinkConfig {
  return good(SOURCE + SINK + options, env).sinks[0] as KafkaSinkConfig;
}

function codes(text: string, env: Record<string, string> = {}): string[] {
  return load(text, env).diagnostics.map((each) => each.code);
}

const DEFAULT_ROUTING = {
  topic: "logs",
  topicPolicy: { allowed: null, fallback: null, reserved: [] },
  onTemplateError: "drop",
  topicMissingTimeoutMs: null,
  onTopicMissing: "wait",
  keyField: null,
  key: null,
  headers: [],
  partitionField: null,
  timestampSource: "ship",
  partitioner: "sticky",
} as const;

/** The sink of `SINK`. */
const DEFAULT_SINK: KafkaSinkConfig = {
  type: "kafka",
  name: "events",
  inputs: ["app"],
  bootstrapServers: ["localhost:9092"],
  ...DEFAULT_ROUTING,
  acks: "all",
  delivery: "exactly_once",
  deliveryReason: null,
  durability: "machine",
  dedupWindowMs: 86_400_000,
  onUndecidable: "duplicate",
  onClonedState: "adopt",
  resolveScanMaxBytes: 268_435_456,
  transactionalId: "shipper.edge-7.events",
  transactionTimeoutMs: 60_000,
  commitIntervalMs: 100,
  positionTopic: "__shipper_positions",
  compression: "none",
  compressionLevel: null,
  batchMaxBytes: 1_000_000,
  batchMaxEvents: 50_000,
  batchTimeoutMs: 5,
  maxMessageBytes: 1_048_576,
  onTooLarge: "drop",
  deadLetter: null,
  clientId: "shipper-edge-7-events",
  topicsAutocreate: false,
  autocreatePartitions: -1,
  autocreateReplicationFactor: -1,
  retryIntervalMs: 100,
  retryMaxIntervalMs: 10_000,
  retryMaxAttempts: 0,
  messageTimeoutMs: 0,
  socketTimeoutMs: 60_000,
  requestTimeoutMs: 30_000,
  connectTimeoutMs: 5_000,
  connectTimeoutMaxMs: 30_000,
  dnsLookup: "use_all_dns_ips",
  sendBufferBytes: 0,
  receiveBufferBytes: 0,
  metricsIntervalMs: 0,
  metadataRefreshMs: 300_000,
  maxInFlight: 5,
  gapMarkersTopic: null,
  healthcheck: true,
  sasl: null,
  tls: null,
  encoding: { codec: "text", onlyFields: null, exceptFields: null, timestampFormat: "rfc3339" },
  buffer: { type: "memory", maxEvents: 50_000, maxSizeBytes: 67_108_864, whenFull: "block" },
};

test("defaults fill what is left out", () => {
  expect(good(SOURCE + SINK)).toEqual({
    dataDir: "/var/lib/shipper",
    api: null,
    log: { level: "info", format: "auto" },
    shutdownTimeoutMs: 10_000,
    rescueSizeBytesMax: 1_073_741_824,
    watchConfig: false,
    sources: [{
      type: "file",
      name: "app",
      include: ["/var/log/app/*.log"],
      exclude: [],
      readFrom: "beginning",
      ignoreOlderMs: null,
      maxLineBytes: 262_144,
      globMinimumCooldownMs: 1_000,
      rotateWaitMs: 5_000,
      partialFlushAfterMs: 5_000,
      maxOpenFiles: null,
      fingerprintBytes: 1_024,
      rotated: "auto",
      decoding: { codec: "text" },
    }],
    sinks: [DEFAULT_SINK],
  });
});

test("a console sink and a stdin source have their defaults", () => {
  const text = '[sources.in]\ntype = "stdin"\n[sinks.out]\ntype = "console"\ninputs = "in"\n';
  const config = good(text);
  expect(config.sources).toEqual([
    { type: "stdin", name: "in", maxLineBytes: 262_144, decoding: { codec: "text" } },
  ]);
  expect(config.sinks[0]).toMatchObject({
    type: "console",
    target: "stdout",
    inputs: ["in"],
    healthcheck: true,
  });
});

test("dotted keys, inline tables and headers are the same", () => {
  const dotted = kafka('buffer.max_events = 7\nbuffer.when_full = "drop_newest"\n');
  expect(dotted.buffer).toMatchObject({ maxEvents: 7, whenFull: "drop_newest" });
  expect(kafka('buffer = { max_events = 7, when_full = "drop_newest" }\n')).toEqual(dotted);
  expect(kafka('[sinks.events.buffer]\nmax_events = 7\nwhen_full = "drop_newest"\n')).toEqual(dotted);
});

test("gap markers go to the sink's topic unless another one is named", () => {
  expect(kafka("gap_markers = true\n").gapMarkersTopic).toBe(kafka("").topic);
  expect(kafka('gap_markers = true\ngap_markers_topic = "gaps"\n').gapMarkersTopic).toBe("gaps");
  expect(kafka("").gapMarkersTopic).toBeNull();
});

test("sizes are bytes or have a unit", () => {
  for (
    const [written, bytes] of [["2000", 2_000], ['"2KiB"', 2_048], ['"2 kb"', 2_000], ['"1.5MiB"', 1_572_864]]
  ) {
    expect(kafka(`max_message_bytes = "1GB"\nbatch.max_bytes = ${written}\n`).batchMaxBytes).toBe(
      bytes as number,
    );
  }
});

test("times are kept in milliseconds, and seconds may have fractions", () => {
  const source = good(
    `shutdown_timeout_secs = 0.25\n${SOURCE}rotate_wait_secs = 2\nignore_older_secs = 60\n${SINK}`,
  );
  expect(source.shutdownTimeoutMs).toBe(250);
  expect(source.sources[0] as FileSourceConfig).toMatchObject({ rotateWaitMs: 2_000, ignoreOlderMs: 60_000 });
});

test("brokers are a list or a comma list, under two names, each once", () => {
  const expected = ["a:1", "b:2", "[fd00::1]:9092"];
  for (
    const line of [
      'bootstrap_servers = "a:1, b:2,[fd00::1]:9092,a:1"',
      'brokers = ["a:1", "b:2,[fd00::1]:9092"]',
    ]
  ) {
    const config = good(SOURCE + SINK.replace('bootstrap_servers = "localhost:9092"', line));
    expect((config.sinks[0] as KafkaSinkConfig).bootstrapServers).toEqual(expected);
  }
});

test("values that Kafka writes in several ways are understood", () => {
  for (
    const [written, acks] of [['"all"', "all"], ['"-1"', "all"], ["-1", "all"], ['"ONE"', "one"], [
      "1",
      "one",
    ], ["0", "none"]]
  ) {
    expect(kafka(`acks = ${written}\n`).acks).toBe(acks as "all");
  }
  const secure = kafka(
    'sasl = { enabled = true, mechanism = "scram-sha-512", username = "u", password = "p" }\ncompression = "ZSTD"\n',
  );
  expect(secure.sasl).toEqual({ mechanism: "SCRAM-SHA-512", username: "u", password: "p" });
  expect(secure.compression).toBe("zstd");
});

test("delivery is exactly once where all replicas confirm, and says why where it is not", () => {
  const of = (options: string) => {
    const { delivery, deliveryReason } = kafka(options);
    return [delivery, deliveryReason];
  };
  expect(of("")).toEqual(["exactly_once", null]);
  expect(of('acks = "all"\ndelivery = "exactly_once"\n')).toEqual(["exactly_once", null]);
  expect(of("acks = 1\n")).toEqual(["at_least_once", 'acks = "one"']);
  expect(of('acks = "none"\n')).toEqual(["at_least_once", 'acks = "none"']);
  // Asked for: there is nothing to explain.
  expect(of('delivery = "at_least_once"\n')).toEqual(["at_least_once", null]);
  expect(of('acks = "one"\ndelivery = "at_least_once"\n')).toEqual(["at_least_once", null]);
});

test("options of exactly-once delivery are in the units of the code", () => {
  const options = 'durability = "process"\ndedup_window_secs = 90.5\non_undecidable = "drop"\n' +
    'on_cloned_state = "stop"\nresolve_scan_max_bytes = "2MiB"\n';
  expect(kafka(options)).toMatchObject({
    durability: "process",
    dedupWindowMs: 90_500,
    onUndecidable: "drop",
    onClonedState: "stop",
    resolveScanMaxBytes: 2_097_152,
  });
});

test("options of transactions are there when they are set", () => {
  const options = 'delivery = "transactional"\ntransactional_id = "edge"\ntransaction_timeout_ms = 5000\n' +
    'commit_interval_ms = 20\nposition_topic = "positions"\n';
  expect(kafka(options)).toMatchObject({
    delivery: "transactional",
    deliveryReason: null,
    transactionalId: "edge",
    transactionTimeoutMs: 5_000,
    commitIntervalMs: 20,
    positionTopic: "positions",
  });
});

test("tls is there when it is enabled", () => {
  expect(kafka("tls.enabled = true\n").tls).toEqual({
    ca: null,
    crt: null,
    key: null,
    keyPass: null,
    verifyHostname: true,
    serverName: null,
  });
});

test("the partitioner follows the key, unless it is set", () => {
  expect(kafka('key_field = "message"\n').partitioner).toBe("murmur2_random");
  expect(kafka('key = "{{message}}"\n').partitioner).toBe("murmur2_random");
  expect(kafka('partition_field = "message"\n')).toMatchObject({
    partitioner: "field",
    partitionField: "message",
  });
  expect(kafka('key_field = "message"\npartitioner = "sticky"\n').partitioner).toBe("sticky");
});

test("the request timeout never exceeds the socket timeout by default", () => {
  expect(kafka("socket_timeout_ms = 20000\n").requestTimeoutMs).toBe(20_000);
});

test("linger_ms is batch.timeout_ms", () => {
  expect(kafka("linger_ms = 50\n").batchTimeoutMs).toBe(50);
});

test("the client id knows the host and the sink", () => {
  expect(kafka('client_id = "{{sink_id}}@{{ host }}"\n').clientId).toBe("events@edge-7");
});

test("the data folder follows the user", () => {
  const user: LoadContext = { hostname: "h", isRoot: false, home: "/home/u", xdgStateHome: undefined };
  expect(good(SOURCE + SINK, {}, user).dataDir).toBe("/home/u/.local/state/shipper");
  expect(good(SOURCE + SINK, {}, { ...user, xdgStateHome: "/state" }).dataDir).toBe("/state/shipper");
  expect(good(SOURCE + SINK, {}, { ...user, xdgStateHome: "relative" }).dataDir).toBe(
    "/home/u/.local/state/shipper",
  );
  expect(good(`data_dir = "/srv/x"\n${SOURCE}${SINK}`, {}, user).dataDir).toBe("/srv/x");
});

test("the API is on when its table is there, and off by enabled = false", () => {
  expect(good(`[api]\n${SOURCE}${SINK}`).api).toEqual({ address: "127.0.0.1:8686", connectionsMax: 64 });
  expect(good(`[api]\nenabled = false\n${SOURCE}${SINK}`).api).toBeNull();
  for (const address of ["0.0.0.0:0", "[::1]:8686", "unix:/run/x.sock"]) {
    expect(good(`[api]\naddress = "${address}"\n${SOURCE}${SINK}`).api).toEqual({
      address,
      connectionsMax: 64,
    });
  }
  expect(good(`[api]\nmax_connections = 3\n${SOURCE}${SINK}`).api?.connectionsMax).toBe(3);
});

test("a source that no sink reads is left out, with a warning", () => {
  const { config, diagnostics } = load(`${SOURCE}[sources.idle]\ntype = "stdin"\n${SINK}`);
  expect(diagnostics.map((each) => each.code)).toEqual(["unread-source"]);
  expect(config!.sources.map((each) => each.name)).toEqual(["app"]);
});

test("files are joined", () => {
  const files: ConfigFile[] = [
    { path: "a.toml", text: `[log]\nlevel = "warn"\n${SOURCE}` },
    { path: "b.toml", text: `[log]\nformat = "json"\n${SINK}` },
  ];
  const { config, diagnostics } = loadConfig(files, {}, CONTEXT);
  expect(diagnostics).toEqual([]);
  expect(config!.log).toEqual({ level: "warn", format: "json" });
  expect(config!.sinks[0]!.inputs).toEqual(["app"]);
});

test("rules between files wait until all files can be read", () => {
  const files: ConfigFile[] = [{ path: "a.toml", text: "[sources.app\n" }, { path: "b.toml", text: SINK }];
  expect(loadConfig(files, {}, CONTEXT).diagnostics.map((each) => each.code)).toEqual(["toml-syntax"]);
});

test("a configuration from standard input leaves no standard input to a source", () => {
  const text = '[sources.in]\ntype = "stdin"\n[sinks.out]\ntype = "console"\ninputs = ["in"]\n';
  const { diagnostics } = loadConfig([{ path: "-", text }], {}, CONTEXT);
  expect(diagnostics.map((each) => [each.code, each.path])).toEqual([["stdin-taken", "<stdin>"]]);
});

test("variables are expanded in every string", () => {
  const sink = kafka(
    'client_id = "$${x}-${A}-${B:-b}-${C:-}"\nbatch.timeout_ms = "${N}"\nhealthcheck = "${T}"\nbuffer.max_size = "${S}"\n' +
      'compression = "${Z:-zstd}"\nsocket_timeout_ms = "${M:-1234}"\nacks = "${K}"\n',
    { A: "a", B: "", N: "7", T: "false", S: "2097152", K: "1" },
  );
  expect(sink).toMatchObject({
    clientId: "${x}-a-b-",
    batchTimeoutMs: 7,
    healthcheck: false,
    compression: "zstd",
    socketTimeoutMs: 1_234,
    acks: "one",
  });
  expect(sink.buffer.maxSizeBytes).toBe(2_097_152);
});

test("a variable's value changes nothing but its own string", () => {
  const sink = kafka('client_id = "${EVIL}"\n', { EVIL: 'x"\ntopic = "stolen"\n# ${OTHER} $$' });
  expect(sink.topic).toBe("logs");
  expect(sink.clientId).toBe('x"\ntopic = "stolen"\n# ${OTHER} $$');
});

test("a type and inputs may come from variables", () => {
  const text = SOURCE + SINK.replace('"kafka"', '"${T}"').replace('"app"', '"${I}"');
  expect(good(text, { T: "kafka", I: "app" }).sinks[0]!.inputs).toEqual(["app"]);
});

test("names from an object's prototype are keys like any other", () => {
  expect(codes(`__proto__ = 1\nconstructor = 2\ntoString = 3\n${SOURCE}${SINK}`)).toEqual([
    "unknown-key",
    "unknown-key",
    "unknown-key",
  ]);
  expect(codes(`${SOURCE}${SINK}compression = "constructor"\nclient_id = "\${toString}"\n`)).toEqual([
    "bad-choice",
    "missing-env",
  ]);
});

test("byte order mark and carriage returns are no part of the configuration", () => {
  const text = `\uFEFF${SOURCE}${SINK}acks = 7\n`.replaceAll("\n", "\r\n");
  const rendered = renderDiagnostics(load(text).diagnostics, { color: false });
  expect(rendered).toContain("9 | acks = 7\n");
});

test("the example configuration is valid", () => {
  const text = readFileSync(new URL("../../config.example.toml", import.meta.url), "utf8");
  expect(good(text).sinks[0]).toMatchObject({ bootstrapServers: ["localhost:9092"], compression: "zstd" });
  const uncommented = text.replace(/^# ([a-z_.]+ = )/gmu, "$1");
  // [sinks.events] is the last table, so its options in comments join it; data_dir stands before the first.
  expect(load(uncommented, { KAFKA_PASSWORD: "p" }).diagnostics).toEqual([]);
});
