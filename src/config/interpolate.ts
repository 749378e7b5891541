/**
 * `${VAR}`, `${VAR:-default}`, `${VAR?message}` and `$$` in a string that TOML has already decoded: a
 * variable's value can therefore never change the structure of the file. As in a shell, `:-` takes the
 * default for an empty variable too, and the default may hold references.
 */
export type Expansion =
  | {
    readonly ok: true;
    readonly value: string;
    readonly alone: boolean;
    /** Those whose value is in it. */
    readonly variables: readonly string[];
    /** Those that were unset or empty, so that their default is in it. */
    readonly defaulted: readonly string[];
  }
  | ExpansionError;

export interface ExpansionError {
  readonly ok: false;
  readonly code: "missing-env" | "bad-interpolation";
  /** What stands in the string: "${REGION}". */
  readonly reference: string;
  readonly variable: string | null;
  readonly reason: string;
}

/** References inside the default of a reference inside ... */
const NESTING_MAX = 8;

/**
 * Expands a string. `alone` is true when the whole string is one reference: its value may then become a
 * number or a boolean.
 */
export function expand(text: string, env: Readonly<Record<string, string | undefined>>): Expansion {
  const used: Used = { variables: [], defaulted: [] };
  const result = expandText(text, env, used, 0);
  if (typeof result !== "string") return result;
  const alone = text.startsWith("${") && referenceEnd(text, 0) === text.length;
  return { ok: true, value: result, alone, ...used };
}

type Env = Readonly<Record<string, string | undefined>>;

interface Used {
  readonly variables: string[];
  readonly defaulted: string[];
}

function expandText(text: string, env: Env, used: Used, depth: number): string | ExpansionError {
  let value = "";
  let at = 0;
  while (true) {
    const dollar = text.indexOf("$", at);
    if (dollar === -1) return value + text.slice(at);
    value += text.slice(at, dollar);
    if (text[dollar + 1] === "$") {
      value += "$";
      at = dollar + 2;
    } else if (text[dollar + 1] === "{") {
      const end = referenceEnd(text, dollar);
      if (end === -1) return malformed(text.slice(dollar), 'its "}" is missing');
      const part = expandReference(text.slice(dollar, end), env, used, depth);
      if (typeof part !== "string") return part;
      value += part;
      at = end;
    } else {
      value += "$";
      at = dollar + 1;
    }
  }
}

function expandReference(
  reference: string,
  env: Env,
  used: Used,
  depth: number,
): string | ExpansionError {
  const match = /^([A-Za-z_][A-Za-z0-9_]*)(?:(:-|\?)(.*))?$/su.exec(reference.slice(2, -1));
  if (match === null) {
    return malformed(reference, 'expected "${NAME}", "${NAME:-default}" or "${NAME?message}"');
  }
  const [, name, operator, word] = match as unknown as [
    string,
    string,
    string | undefined,
    string | undefined,
  ];
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (value !== undefined && !(operator === ":-" && value === "")) {
    used.variables.push(name);
    return value;
  }
  if (operator === ":-") {
    if (depth >= NESTING_MAX) return malformed(reference, "its defaults are nested too deeply");
    used.defaulted.push(name);
    return expandText(word!, env, used, depth + 1);
  }
  const reason = operator === "?" && word !== "" ? word! : "the environment variable is not set";
  return { ok: false, code: "missing-env", reference, variable: name, reason };
}

function malformed(reference: string, reason: string): ExpansionError {
  return { ok: false, code: "bad-interpolation", reference, variable: null, reason };
}

/**
 * Index after the "}" that closes the reference at `start`; braces in between are counted. -1 when it is not
 * closed.
 */
function referenceEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === "{") depth++;
    else if (text[at] === "}" && --depth === 0) return at + 1;
  }
  return -1;
}
