import { regionOf } from "./build_security.ts";
import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import type { Values } from "./option.ts";
import type { kafkaSinkGroup } from "./options_kafka_sink.ts";
import { given, warnUnused } from "./rules_common.ts";
import { quote } from "./source_text.ts";
import type { FoundOption } from "./table_draft.ts";

type KafkaValues = Values<typeof kafkaSinkGroup.options>;

type Env = Readonly<Record<string, string | undefined>>;

/** Options of a login need one, of a mechanism that mechanism, and a secret is better not sent as it is. */
export function checkSasl(table: CheckedTable, report: Report, env: Env): void {
  const values = table.values as KafkaValues;
  if (table.found.get("sasl.enabled")?.valid === false) return;
  if (!values["sasl.enabled"]) {
    warnUnused({
      options: foundBelow(table, "sasl."),
      off: table.found.get("sasl.enabled"),
      reason: "shipper does not log in, as sasl.enabled is not true",
      remedy: protocolRemedy(table, { SSL: "SASL_SSL" }, "SASL_PLAINTEXT") ?? "add sasl.enabled = true",
    }, report);
    return;
  }
  const mechanism = given(table, "sasl.mechanism");
  if (mechanism === null) return;
  checkOtherMechanisms(table, mechanism, report);
  if (values["sasl.mechanism"] === "OAUTHBEARER") checkTokenSource(table, mechanism, report);
  if (values["sasl.mechanism"] === "AWS_MSK_IAM") checkRegion(table, mechanism, report, env);
  checkClearText(table, mechanism, report);
}

/** Which options go with which mechanisms. */
const GROUPS: readonly { readonly prefix: RegExp; readonly mechanism: RegExp; readonly remedy: string }[] = [
  {
    prefix: /^sasl\.(username|password)$/u,
    mechanism: /^(PLAIN|SCRAM-)/u,
    remedy: 'use sasl.mechanism = "SCRAM-SHA-512"',
  },
  {
    prefix: /^sasl\.oauthbearer\./u,
    mechanism: /^OAUTHBEARER$/u,
    remedy: 'use sasl.mechanism = "OAUTHBEARER"',
  },
  { prefix: /^sasl\.aws\./u, mechanism: /^AWS_MSK_IAM$/u, remedy: 'use sasl.mechanism = "AWS_MSK_IAM"' },
];

function checkOtherMechanisms(table: CheckedTable, mechanism: FoundOption, report: Report): void {
  const name = (table.values as KafkaValues)["sasl.mechanism"]!;
  for (const group of GROUPS) {
    if (group.mechanism.test(name)) continue;
    const options = [...table.found].filter(([key, { valid }]) => valid && group.prefix.test(key))
      .map(([, found]) => found);
    warnUnused({
      options: options.sort((a, b) => a.at.start - b.at.start),
      off: mechanism,
      reason: `sasl.mechanism is ${quote(name)}`,
      remedy: group.remedy,
    }, report);
  }
}

const TOKEN_SOURCES = ["token", "token_file", "token_endpoint_url"].map((name) => `sasl.oauthbearer.${name}`);

function checkTokenSource(table: CheckedTable, mechanism: FoundOption, report: Report): void {
  const found = TOKEN_SOURCES.flatMap((key) => table.found.get(key) ?? []).sort((a, b) =>
    a.at.start - b.at.start
  );
  const [first, second] = found;
  if (first === undefined) {
    report.add({
      code: "missing-key",
      message: 'Cannot log in with sasl.mechanism = "OAUTHBEARER": nothing says where the token comes from',
      at: mechanism.at,
      hint: `add one of ${TOKEN_SOURCES.join(", ")}`,
    });
    return;
  }
  if (second !== undefined) {
    report.add({
      code: "conflict",
      message: `Cannot use ${quote(second.key)} with ${quote(first.key)}: a token comes from one place`,
      at: second.at,
      related: [{ at: first.at, label: "is another" }],
      hint: "keep one of the two",
    });
    return;
  }
  checkTokenEndpoint(table, first, report);
}

function checkTokenEndpoint(table: CheckedTable, source: FoundOption, report: Report): void {
  const endpoint = table.found.get("sasl.oauthbearer.token_endpoint_url");
  const needed = ["client_id", "client_secret"].map((name) => `sasl.oauthbearer.${name}`);
  if (endpoint === undefined) {
    const asking = [...needed, ...["scope", "audience", "ca_file"].map((name) => `sasl.oauthbearer.${name}`)];
    warnUnused({
      options: asking.flatMap((key) => table.found.get(key) ?? []).sort((a, b) => a.at.start - b.at.start),
      off: source,
      reason: "no token is asked for, as sasl.oauthbearer.token_endpoint_url is not set",
      remedy: `use sasl.oauthbearer.token_endpoint_url instead of ${source.key}`,
    }, report);
    return;
  }
  for (const key of needed.filter((each) => !table.found.has(each))) {
    report.add({
      code: "missing-key",
      message: `Cannot use ${quote(endpoint.key)} without ${
        quote(key)
      }: a token is given to a client that is known`,
      at: endpoint.at,
      hint: `add ${key}`,
    });
  }
  const url = (table.values as KafkaValues)["sasl.oauthbearer.token_endpoint_url"];
  if (url === null || !url.startsWith("http:") || isLoopback(new URL(url).hostname)) return;
  report.add({
    code: "insecure-sasl",
    message: "The client's secret will cross the network in the clear: tokens are asked for without TLS",
    at: endpoint.valueAt,
    hint: "write https:// in front, with sasl.oauthbearer.ca_file for a private CA",
  });
}

function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/u.test(hostname);
}

function checkRegion(table: CheckedTable, mechanism: FoundOption, report: Report, env: Env): void {
  if (table.found.has("sasl.aws.region") || regionOf(env) !== null) return;
  report.add({
    code: "missing-key",
    message:
      'Cannot log in with sasl.mechanism = "AWS_MSK_IAM": the region is not known, AWS_REGION and AWS_DEFAULT_REGION are not set',
    at: mechanism.at,
    hint: 'add, for example, sasl.aws.region = "eu-central-1"',
  });
}

/** What each mechanism sends as it is; SCRAM proves that it knows the password, and does not tell it. */
const SENT: Readonly<Record<string, string>> = {
  PLAIN: "Password",
  OAUTHBEARER: "Token",
  AWS_MSK_IAM: "Signed request, which is good for 15 minutes,",
};

function checkClearText(table: CheckedTable, mechanism: FoundOption, report: Report): void {
  const values = table.values as KafkaValues;
  const name = values["sasl.mechanism"]!;
  const what = SENT[name];
  if (what === undefined || values["tls.enabled"] || table.found.get("tls.enabled")?.valid === false) return;
  const user = name === "PLAIN" ? given(table, "sasl.username") : null;
  // As written: the value of a variable is not repeated. What another option implies is not that option's text.
  const whose = user === null || user.implied
    ? ""
    : ` for ${user.valueAt.file.text.slice(user.valueAt.start, user.valueAt.end)}`;
  report.add({
    code: "insecure-sasl",
    message: `${what}${whose} will cross the network in the clear: mechanism ${
      quote(name)
    } is used without TLS`,
    at: mechanism.valueAt,
    hint: `${protocolRemedy(table, {}, "SASL_SSL") ?? "add tls.enabled = true"}${
      name === "PLAIN" ? ', or use sasl.mechanism = "SCRAM-SHA-512"' : ""
    }`,
  });
}

/** Options of TLS need TLS, and a certificate its key. */
export function checkTls(table: CheckedTable, report: Report): void {
  const values = table.values as KafkaValues;
  if (table.found.get("tls.enabled")?.valid === false) return;
  if (!values["tls.enabled"]) {
    warnUnused({
      options: foundBelow(table, "tls."),
      off: table.found.get("tls.enabled"),
      reason: "connections are not encrypted, as tls.enabled is not true",
      remedy: protocolRemedy(table, { SASL_PLAINTEXT: "SASL_SSL" }, "SSL") ?? "add tls.enabled = true",
    }, report);
    return;
  }
  const store = keyStore(table);
  for (const [one, other] of [["tls.crt_file", "tls.key_file"], ["tls.key_file", "tls.crt_file"]] as const) {
    const found = given(table, one);
    if (found === null || found === store || table.found.has(other)) continue;
    report.add({
      code: "incomplete-certificate",
      message: `Cannot use ${quote(one)} without ${
        quote(other)
      }: a client's certificate and its key go together`,
      at: found.at,
      hint: one === "tls.crt_file"
        ? "add tls.key_file, or remove tls.crt_file; a PKCS#12 file, which holds both, is known by a name in .p12 or .pfx"
        : `add ${other}, or remove ${one}`,
    });
  }
  const key = given(table, "tls.key_file");
  if (store !== null && key !== null) {
    const [first, second] = store.at.start < key.at.start ? [store, key] : [key, store];
    report.add({
      code: "conflict",
      message: `Cannot use ${quote(second.key)} with ${
        quote(first.key)
      }: a PKCS#12 file holds the key as well`,
      at: second.at,
      related: [{ at: first.at, label: first === store ? "holds a key" : "is another key" }],
      hint: `remove ${key.key}`,
    });
  }
  const pass = given(table, "tls.key_pass");
  // With a certificate alone it is the key that is missing.
  if (pass === null || table.found.has("tls.key_file") || table.found.has("tls.crt_file")) return;
  report.add({
    code: "unused-option",
    message: 'Option "tls.key_pass" has no effect: there is no "tls.key_file" to unlock',
    at: pass.at,
    hint: "add tls.key_file, or remove it",
  });
}

/** The option that names a PKCS#12 file, by its ending: nothing is opened here. */
function keyStore(table: CheckedTable): FoundOption | null {
  const found = given(table, "tls.crt_file");
  const path = (table.values as KafkaValues)["tls.crt_file"];
  if (found === null || path === null) return null;
  return found.key.endsWith("ssl.keystore.location") || /\.(p12|pfx|pkcs12)$/iu.test(path) ? found : null;
}

/** What stands below a table such as "tls", but for what switches it on; in the order of the file. */
function foundBelow(table: CheckedTable, prefix: string): FoundOption[] {
  return [...table.found].filter(([key]) => key.startsWith(prefix) && key !== `${prefix}enabled`)
    .map(([, found]) => found).sort((a, b) => a.at.start - b.at.start);
}

/** The protocol to write, where one stands in the file: `next` of it, or `otherwise`. */
function protocolRemedy(
  table: CheckedTable,
  next: Readonly<Record<string, string>>,
  otherwise: string,
): string | null {
  const protocol = given(table, "security_protocol");
  if (protocol === null) return null;
  const wanted = next[(table.values as KafkaValues).security_protocol!] ?? otherwise;
  return `use ${protocol.key} = ${quote(wanted)}`;
}
