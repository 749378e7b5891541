import type { CheckedTable } from "./check.ts";
import { expand } from "./interpolate.ts";
import type { NamedTexts, Option } from "./option.ts";
import type { FoundOption } from "./table_draft.ts";
import { stringsIn } from "./toml_tree.ts";
import { namesSecret } from "./value_context.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** Stands for what is not shown. */
export const MASK = "***";

/** A shorter secret is not looked for in other values: it would be found everywhere. */
const SOUGHT_LENGTH_MIN = 4;

export interface Masked {
  readonly value: unknown;
  /** Something of it is not shown. */
  readonly isMasked: boolean;
}

/**
 * What is secret in a configuration: the values of secret options, every variable that one of them takes or whose name tells, and any text
 * that happens to hold the value of one of these.
 */
export class Secrets {
  readonly #env: Env;
  /** The environment with secret variables masked. */
  readonly #maskedEnv: Env;
  readonly #variables = new Set<string>();
  /** Secret values, the longest first. */
  readonly #texts: readonly string[];

  constructor(tables: readonly CheckedTable[], env: Env) {
    this.#env = env;
    const texts = new Set<string>();
    for (const { group, found, values } of tables) {
      for (const [key, { node }] of found) {
        const isSecret = group.options[key]!.secret;
        // Not always what stands there: the password of a JAAS text is a part of it.
        if (isSecret && typeof values[key] === "string") texts.add(values[key]);
        // The path of a file with a secret is none.
        for (const { value } of isSecret && node.kind === "table" ? [] : stringsIn(node)) {
          const expansion = expand(String(value), env);
          if (!expansion.ok) continue;
          if (isSecret) texts.add(expansion.value);
          for (const name of expansion.variables) {
            if (isSecret || namesSecret(name)) this.#variables.add(name);
          }
        }
      }
    }
    for (const name of this.#variables) texts.add(env[name] ?? "");
    this.#texts = [...texts].filter((each) => each.length >= SOUGHT_LENGTH_MIN)
      .sort((a, b) => b.length - a.length);
    // An empty variable stays empty, so that the same defaults are taken.
    const masked = [...this.#variables].filter((name) => env[name] !== "").map((name) => [name, MASK]);
    this.#maskedEnv = { ...env, ...Object.fromEntries(masked) };
  }

  /** A value that an option was given, by what stands in the file. */
  mask(value: unknown, option: Option<unknown>, { node, implied }: FoundOption): Masked {
    if (option.secret || holdsPrivateKey(value)) return { value: MASK, isMasked: true };
    if (implied) return this.#maskPart(value);
    const strings = stringsIn(node);
    if (!strings.some((each) => this.#takesSecret(String(each.value)))) return this.maskText(value);
    const { kind } = option.type;
    const isText = kind === "string" || kind === "strings" || kind === "texts";
    // What was made of the text, such as a number, can't be shown in part.
    if (!isText) return { value: MASK, isMasked: true };
    const parts = strings.map((each) => this.#expandMasked(String(each.value)));
    if (kind === "texts") {
      const names = (value as NamedTexts).map(([name]) => name);
      return { value: this.maskText(names.map((name, i) => [name, parts[i]])).value, isMasked: true };
    }
    return { value: this.maskText(kind === "string" ? parts[0] : parts).value, isMasked: true };
  }

  /** A value in which a secret may happen to be. */
  maskText(value: unknown): Masked {
    if (Array.isArray(value)) {
      const items = value.map((each) => this.maskText(each));
      return { value: items.map((each) => each.value), isMasked: items.some((each) => each.isMasked) };
    }
    if (typeof value !== "string") return { value, isMasked: false };
    const masked = this.#texts.reduce((text, secret) => text.replaceAll(secret, () => MASK), value);
    return { value: masked, isMasked: masked !== value };
  }

  /** A value that was made of a part of what stands in the file. */
  #maskPart(value: unknown): Masked {
    const holdsSecret = typeof value === "string" && [...this.#variables].some((name) => {
      const secret = this.#env[name] ?? "";
      return secret !== "" && value.includes(secret);
    });
    return holdsSecret ? { value: MASK, isMasked: true } : this.maskText(value);
  }

  #takesSecret(text: string): boolean {
    const expansion = expand(text, this.#env);
    return expansion.ok && expansion.variables.some((each) => this.#variables.has(each));
  }

  #expandMasked(text: string): string {
    const expansion = expand(text, this.#maskedEnv);
    return expansion.ok ? expansion.value : MASK;
  }
}

function holdsPrivateKey(value: unknown): boolean {
  return typeof value === "string" && value.includes("PRIVATE KEY-----");
}
