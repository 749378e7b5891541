import type { CheckedTable } from "./check.ts";
import type { Report } from "./diagnostic.ts";
import type { Values } from "./option.ts";
import type { kafkaSinkGroup } from "./options_kafka_sink.ts";
import { given, warnUnused } from "./rules_common.ts";
import { quote } from "./source_text.ts";
import type { FoundOption } from "./table_draft.ts";

type KafkaValues = Values<typeof kafkaSinkGroup.options>;

/** Options of a login need one, and a password is better not sent as it is. */
export function checkSasl(table: CheckedTable, report: Report): void {
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
  if (mechanism === null || values["sasl.mechanism"] !== "PLAIN" || values["tls.enabled"]) return;
  if (table.found.get("tls.enabled")?.valid === false) return;
  const user = given(table, "sasl.username");
  // As written: the value of a variable is not repeated. What another option implies is not that option's text.
  const whose = user === null || user.implied
    ? ""
    : ` for ${user.valueAt.file.text.slice(user.valueAt.start, user.valueAt.end)}`;
  report.add({
    code: "insecure-sasl",
    message: `Password${whose} will cross the network in the clear: mechanism "PLAIN" is used without TLS`,
    at: mechanism.valueAt,
    hint: `${
      protocolRemedy(table, {}, "SASL_SSL") ?? "add tls.enabled = true"
    }, or use sasl.mechanism = "SCRAM-SHA-512"`,
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
  for (const [one, other] of [["tls.crt_file", "tls.key_file"], ["tls.key_file", "tls.crt_file"]] as const) {
    const found = given(table, one);
    if (found === null || table.found.has(other)) continue;
    report.add({
      code: "incomplete-certificate",
      message: `Cannot use ${quote(one)} without ${
        quote(other)
      }: a client's certificate and its key go together`,
      at: found.at,
      hint: `add ${other}, or remove ${one}`,
    });
  }
  const pass = given(table, "tls.key_pass");
  if (pass === null || table.found.has("tls.key_file")) return;
  report.add({
    code: "unused-option",
    message: 'Option "tls.key_pass" has no effect: there is no "tls.key_file" to unlock',
    at: pass.at,
    hint: "add tls.key_file, or remove it",
  });
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
