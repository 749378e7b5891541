import { expand } from "./interpolate.ts";
import { applyKafkaProperties } from "./librdkafka_check.ts";
import { parseJaas } from "./sasl_jaas.ts";
import { UNREAD_SECRET } from "./secret_file.ts";
import { quote } from "./source_text.ts";
import type { FoundOption, TableDraft } from "./table_draft.ts";
import type { TomlScalar } from "./toml_tree.ts";

/**
 * Options of a Kafka sink that other words stand for: properties of librdkafka and of the Java producer,
 * security_protocol, and a JAAS text. What contradicts an option is reported.
 */
export function deriveKafkaOptions(draft: TableDraft): void {
  applyKafkaProperties(draft);
  deriveSecurityProtocol(draft);
  deriveJaas(draft);
}

function deriveSecurityProtocol(draft: TableDraft): void {
  const found = draft.found.get("security_protocol");
  if (found === undefined) return;
  const implied = { ...found, implied: true };
  const protocol = String(draft.values["security_protocol"]);
  draft.join("tls.enabled", protocol.endsWith("SSL"), implied);
  draft.join("sasl.enabled", protocol.startsWith("SASL_"), implied);
}

function deriveJaas(draft: TableDraft): void {
  const found = draft.found.get("sasl.jaas_config");
  if (found === undefined) return;
  if (draft.values["sasl.jaas_config"] === UNREAD_SECRET) return deriveUnreadJaas(found, draft);
  const login = found.valid ? readJaas(found, draft) : null;
  const implied: FoundOption = { ...found, implied: true, valid: login !== null };
  draft.join("sasl.username", login?.username, implied);
  draft.join("sasl.password", login?.password, implied);
  if (login === null) {
    draft.set("sasl.jaas_config", null, { ...found, valid: false });
  } else if (login.module === "plain") {
    draft.join("sasl.mechanism", "PLAIN", implied);
  } else if (draft.found.get("sasl.mechanism")?.valid) {
    // Which of the two SCRAM mechanisms it is does not stand there: only that it is not another.
    const mechanism = String(draft.values["sasl.mechanism"]);
    draft.join("sasl.mechanism", mechanism.startsWith("SCRAM-") ? mechanism : "SCRAM", implied);
  }
}

/** What it says is not needed, but that it says something. */
function deriveUnreadJaas(found: FoundOption, draft: TableDraft): void {
  const implied: FoundOption = { ...found, implied: true };
  const login = { mechanism: "SCRAM-SHA-512", username: UNREAD_SECRET, password: UNREAD_SECRET };
  for (const [key, value] of Object.entries(login)) {
    if (!draft.found.has(`sasl.${key}`)) draft.set(`sasl.${key}`, value, implied);
  }
}

interface Login {
  readonly module: "plain" | "scram";
  readonly username: string;
  readonly password: string;
}

/**
 * A variable that stands for the whole text is read as JAAS; one inside of a value is put into the value, so
 * that a quote in a password changes nothing. The option's own check has found all variables set.
 */
function readJaas(found: FoundOption, draft: TableDraft): Login | null {
  const { report, env } = draft.session;
  // The text of a file has no variables.
  const isFile = found.node.kind === "table";
  const text = String(isFile ? draft.values["sasl.jaas_config"] : (found.node as TomlScalar).value);
  const whole = isFile ? null : expand(text, env);
  const isAlone = whole === null || (whole.ok && whole.alone);
  const jaas = parseJaas(whole?.ok && whole.alone ? whole.value : text);
  if (!jaas.ok) {
    report.add({
      code: jaas.code,
      message: `Cannot read option ${quote(found.key)}: ${jaas.reason}`,
      at: found.at,
      hint: jaas.hint,
    });
    return null;
  }
  const value = (part: string): string => {
    if (isAlone) return part;
    const expansion = expand(part, env);
    return expansion.ok ? expansion.value : part;
  };
  return { module: jaas.module, username: value(jaas.username), password: value(jaas.password) };
}
