import { quote } from "./source_text.ts";
import type { TomlNode, TomlTable } from "./toml_tree.ts";
import { expandScalar, INVALID, maskNode, type ValueContext } from "./value_context.ts";
import { kindNoun } from "./wrong_type.ts";

/** What a file with a secret came to. A reason and a hint hold nothing of what is in it. */
export type SecretFile =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string; readonly hint: string };

/**
 * Reads the file at `path` (relative to the working directory): its text without the newline at its end. Never throws. The caller of
 * `loadConfig` passes it in; the configuration itself opens nothing.
 */
export type ReadSecretFile = (path: string) => SecretFile;

/** For a caller that has no files to read from. */
export const noSecretFiles: ReadSecretFile = () => ({
  ok: false,
  reason: "no file can be read here",
  hint: "write the secret as a string",
});

/** Stands for the text of a file that nobody needs, and that is not opened. */
export const UNREAD_SECRET = "(not read)";

/** For who needs no secret: no file is opened, and none has to be there. */
export const unreadSecretFiles: ReadSecretFile = () => ({ ok: true, text: UNREAD_SECRET });

/** The key of the table that stands for a secret. */
const FILE_KEY = "file";

/** `{ file = "/run/secrets/kafka" }` in place of a secret's text. Reports what is wrong and returns INVALID, or returns the text. */
export function checkSecretFile(table: TomlTable, context: ValueContext): string | typeof INVALID {
  const { key, session } = context;
  const hint = `write, for example, ${key} = { file = "/run/secrets/kafka" }`;
  for (const entry of table.entries.values()) if (entry.key !== FILE_KEY) maskNode(entry.node);
  const other = [...table.entries.values()].find((each) => each.key !== FILE_KEY);
  if (other !== undefined) {
    session.report.add({
      code: "unknown-key",
      message: `Cannot read option ${quote(key)}: a table in place of a secret has the key "file" alone`,
      at: other.keyAt,
      hint,
    });
    return INVALID;
  }
  const node = table.entries.get(FILE_KEY)?.node;
  if (node === undefined) {
    session.report.add({
      code: "missing-key",
      message: `Cannot read option ${quote(key)}: the table does not name a file`,
      at: table.at,
      hint,
    });
    return INVALID;
  }
  if (node.kind !== "string") {
    maskNode(node);
    session.report.add({
      code: "wrong-type",
      message: `Cannot read option ${quote(`${key}.file`)}: expected the path of a file, found ${
        kindNoun(node)
      }`,
      at: node.at,
      hint,
    });
    return INVALID;
  }
  // A path is no secret, though what it leads to is.
  const path = expandScalar(node, { ...context, option: { ...context.option, secret: false } });
  if (path === INVALID) return INVALID;
  const file = session.readSecretFile(path.value);
  if (file.ok) return file.text;
  // A variable that should name the file may hold the secret itself.
  const isShown = path.shown === quote(path.value);
  const which = isShown ? `file ${path.shown}` : `the file that ${quote(String(node.value))} names`;
  session.report.add({
    code: "bad-secret-file",
    message: `Cannot read option ${quote(key)} from ${which}: ${file.reason}`,
    at: node.at,
    hint: file.hint,
  });
  return INVALID;
}

/** The path as it is written, when a value names a file in place of a secret. */
export function secretFilePath(node: TomlNode): string | null {
  const path = node.kind === "table" ? node.entries.get(FILE_KEY)?.node : undefined;
  return path?.kind === "string" ? String(path.value) : null;
}
