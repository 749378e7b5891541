import { PROPERTIES_KEY } from "./librdkafka_table.ts";
import type { OptionGroup } from "./option.ts";
import type { TomlNode, TomlTable } from "./toml_tree.ts";

/** Where a protocol may stand that says what `sasl.enabled` and `tls.enabled` are. */
const PROTOCOL_PATHS: readonly (readonly string[])[] = [
  ["security_protocol"],
  [PROPERTIES_KEY, "security.protocol"],
  [PROPERTIES_KEY, "security", "protocol"],
];

/**
 * Whether an option such as "sasl.password" has no effect because its table's `enabled` is not true: then a file that it names is not opened. Looked up
 * in the text, before any option is checked; where a variable decides, it is taken to have one.
 */
export function isSwitchedOff(table: TomlTable, group: OptionGroup, key: string): boolean {
  const place = key.slice(0, key.indexOf("."));
  if (!Object.hasOwn(group.options, `${place}.enabled`)) return false;
  const enabled = nodeAt(table, [place, "enabled"]);
  if (enabled !== null) return enabled.kind === "boolean" && enabled.value === false;
  return PROTOCOL_PATHS.every((path) => {
    const node = nodeAt(table, path);
    if (node === null) return true;
    if (node.kind !== "string" || String(node.value).includes("$")) return false;
    const protocol = String(node.value).trim().toUpperCase();
    return place === "sasl" ? !protocol.startsWith("SASL_") : !protocol.endsWith("SSL");
  });
}

function nodeAt(table: TomlTable, path: readonly string[]): TomlNode | null {
  let node: TomlNode = table;
  for (const key of path) {
    const next: TomlNode | undefined = node.kind === "table" ? node.entries.get(key)?.node : undefined;
    if (next === undefined) return null;
    node = next;
  }
  return node;
}
