import { type Diagnostic, Report } from "./diagnostic.ts";
import { expand } from "./interpolate.ts";
import type { CheckedConfig } from "./load.ts";
import type { Env } from "./secrets.ts";
import { quote, type SourceText, type Span } from "./source_text.ts";
import { stringsIn } from "./toml_tree.ts";

/** A secret that stands in a file itself, not in a variable or in a file of its own. */
export interface LiteralSecret {
  readonly file: SourceText;
  readonly at: Span;
  /** "sasl.password" */
  readonly option: string;
}

/** The secrets that stand in the files of a configuration, in no order. */
export function literalSecrets({ sources, sinks }: CheckedConfig, env: Env): LiteralSecret[] {
  const secrets: LiteralSecret[] = [];
  for (const { table } of [...sources, ...sinks]) {
    for (const [key, { node, implied, at }] of table?.found ?? []) {
      if (implied || node.kind === "table") continue;
      const isSecret = table!.group.options[key]!.secret;
      const isLiteral = stringsIn(node).some(({ value }) => {
        const text = String(value);
        if (text === "" || !(isSecret || text.includes("PRIVATE KEY-----"))) return false;
        const expansion = expand(text, env);
        return expansion.ok && expansion.variables.length === 0;
      });
      if (isLiteral) secrets.push({ file: at.file, at, option: key });
    }
  }
  return secrets;
}

/** A warning for a file that holds a secret and has a mode that lets every user read it. */
export function readableSecret({ file, at, option }: LiteralSecret, mode: number): Diagnostic {
  const report = new Report();
  const shown = (mode & 0o777).toString(8).padStart(4, "0");
  report.add({
    code: "readable-secret",
    message: `Every user of this machine may read ${quote(option)}: ${quote(file.path)} has mode ${shown}`,
    at,
    hint: `chmod o-r ${file.path}, or keep the secret elsewhere: \${NAME} or { file = "/run/secrets/kafka" }`,
  });
  return report.finish()[0]!;
}
