import { type NamedTexts, type StringCheck, text, type TextsType } from "./option.ts";
import { quote } from "./source_text.ts";
import type { TomlNode } from "./toml_tree.ts";
import { INVALID, type ValueContext } from "./value_context.ts";
import { wrongType } from "./wrong_type.ts";

/** Checks one text; reports what is wrong with it. */
type CheckText = (
  node: TomlNode,
  check: StringCheck,
  context: ValueContext,
) => string | typeof INVALID;

/** Checks a table of texts: each name, and each text by `checkText`. Reports what is wrong and returns INVALID. */
export function checkTexts(
  node: TomlNode,
  type: TextsType,
  context: ValueContext,
  checkText: CheckText,
): NamedTexts | typeof INVALID {
  if (node.kind !== "table") return wrongType(node, context);
  const { report } = context.session;
  const found: [string, string][] = [];
  let isValid = true;
  for (const { key: name, keyAt, node: value } of node.entries.values()) {
    const key = `${context.key}.${/^[A-Za-z0-9_-]+$/u.test(name) ? name : quote(name)}`;
    const problem = type.checkName(name);
    if (problem !== null) {
      report.add({
        code: problem.code,
        message: `Cannot read option ${quote(context.key)}: ${problem.reason}`,
        at: keyAt,
        hint: problem.hint,
      });
      isValid = false;
    } else if (value.kind === "table") {
      report.add({
        code: "wrong-type",
        message: `Cannot read option ${quote(key)}: expected a string, found a table`,
        at: value.at,
        hint: `a name that holds a dot is quoted: ${context.key}."a.b" = "..."`,
      });
      isValid = false;
    } else {
      const checked = checkText(value, type.check, { ...context, key, option: OF_ONE });
      if (checked === INVALID) isValid = false;
      else found.push([name, checked]);
    }
  }
  if (found.length > type.countMax) {
    report.add({
      code: "out-of-range",
      message: `Cannot read option ${
        quote(context.key)
      }: it holds ${found.length} entries, and at most ${type.countMax} are allowed`,
      at: node.at,
      hint: "remove some",
    });
    return INVALID;
  }
  return isValid ? found : INVALID;
}

/** What messages say of one of the texts. */
const OF_ONE = text({ default: null, defaultText: "none", doc: "", example: '"{{trace_id}}"' });
