import type { DiagnosticCode } from "./diagnostic.ts";

/**
 * How an option is declared: once, as data. The checks (check.ts), the typed values that build.ts turns into
 * `Config`, docs/configuration.md, the JSON Schema, sample configurations and the tests are all derived from the declarations in
 * options_*.ts.
 *
 * This is an own small vocabulary and not zod: a diagnostic points at the line and column of a value, of a
 * key, or of a part inside a string, and a schema library sees plain objects without positions; its errors
 * would have to be mapped back by path, and unknown keys, aliases, interpolation and secrets would still be
 * handled here. json_schema.ts writes a JSON Schema from these facts, as docs.ts does the docs.
 */
export interface Option<out T> {
  readonly type: OptionType;
  /** The value when the option is left out; undefined when it must be there. */
  readonly default: T | undefined;
  /** What the docs say for a default that is not a plain value, such as "unlimited". */
  readonly defaultText: string | null;
  readonly required: boolean;
  /** Required only when another boolean option of the same table is true. */
  readonly requiredWhen: string | null;
  /** Not required then all the same: another option has one of these values. */
  readonly requiredUnless: Unless | null;
  /** What a number counts: "bytes", "events", "milliseconds". */
  readonly unit: string | null;
  /** One or more sentences. */
  readonly doc: string;
  /** As it is written in TOML, after the equals sign. */
  readonly example: string;
  readonly aliases: readonly string[];
  /** The value is never shown. */
  readonly secret: boolean;
}

/** `option` has one of `values`. */
export interface Unless {
  readonly option: string;
  readonly values: readonly string[];
}

export type OptionType =
  | { readonly kind: "string"; readonly check?: StringCheck }
  | { readonly kind: "boolean" }
  | NumberType
  | ChoiceType
  | { readonly kind: "strings"; readonly countMin: number; readonly check?: StringCheck }
  | { readonly kind: "addresses" }
  | TextsType;

/** A table of texts under names of the user's choice. */
export interface TextsType {
  readonly kind: "texts";
  readonly countMax: number;
  readonly checkName: StringCheck;
  readonly check: StringCheck;
}

/** What a table of texts is read as: in the order of the file. */
export type NamedTexts = readonly (readonly [name: string, text: string])[];

/** "integer", "seconds" (fractions allowed) or "size" (bytes, or a string such as "64MiB"). */
export interface NumberType {
  readonly kind: "integer" | "seconds" | "size";
  readonly min: number;
  readonly max: number;
  /** A value outside of the range that means something else, such as -1. */
  readonly special?: number;
}

export interface ChoiceType {
  readonly kind: "choice";
  readonly values: readonly string[];
  /** Other spellings, in lower case, and what they stand for. */
  readonly aliases: Readonly<Record<string, string>>;
  readonly ignoreCase: boolean;
  /** Values that the design has and this version does not, with what to do instead. */
  readonly unsupported: Readonly<Record<string, string>>;
}

/** Looks at an expanded string; null when it is fine. */
export type StringCheck = (value: string) => StringProblem | null;

export interface StringProblem {
  readonly code: DiagnosticCode;
  /** Goes after "Cannot read option ...: ". */
  readonly reason: string;
  readonly hint: string;
  /** The part of the string to point at; the whole string without it. */
  readonly part?: string;
}

export type Options = Readonly<Record<string, Option<unknown>>>;

/** The checked values of a set of options, by key. */
export type Values<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

/** One kind of table: where it stands, its options, and what the docs say over it. */
export interface OptionGroup<O extends Options = Options> {
  /** The table as it is written: "", "api", "sources.NAME". */
  readonly table: string;
  /** The value of `type`, where tables of this place have one. */
  readonly type: string | null;
  readonly title: string;
  readonly doc: string;
  readonly options: O;
  /** Options of later versions: known by name, so that the diagnostic can say so. */
  readonly planned: readonly string[];
  /** Tables beside the options, which have groups of their own: they are near misses too. */
  readonly tables?: readonly string[];
  /** By key: the options that may give this one its value, so that it need not stand there. */
  readonly impliedBy?: Readonly<Record<string, readonly string[]>>;
}

interface CommonFacts {
  readonly doc: string;
  readonly example: string;
  readonly unit?: string;
  readonly aliases?: readonly string[];
  readonly secret?: boolean;
}

/**
 * Exactly one of: must be given; must be given under a condition; has a default (null: nothing, as
 * `defaultText` says).
 */
type Presence<T> =
  | { readonly required: true }
  | { readonly requiredWhen: string; readonly requiredUnless?: Unless }
  | { readonly default: T }
  | { readonly default: null; readonly defaultText: string };

type Facts<T> = CommonFacts & Presence<T>;

type Result<T, F> = F extends { default: null } | { requiredWhen: string } ? Option<T | null> : Option<T>;

export function text<F extends Facts<string> & { check?: StringCheck }>(facts: F): Result<string, F> {
  return make(withCheck({ kind: "string" }, facts.check), facts) as Result<string, F>;
}

export function flag<F extends Facts<boolean>>(facts: F): Result<boolean, F> {
  return make({ kind: "boolean" }, facts) as Result<boolean, F>;
}

type Range = { readonly min: number; readonly max: number; readonly special?: number };

export function integer<F extends Facts<number> & Range>(facts: F): Result<number, F> {
  return make({ kind: "integer", ...range(facts) }, facts) as Result<number, F>;
}

/** A time in seconds, fractions allowed. */
export function seconds<F extends Facts<number> & Range>(facts: F): Result<number, F> {
  return make({ kind: "seconds", ...range(facts) }, { unit: "seconds", ...facts }) as Result<number, F>;
}

/** A time in whole milliseconds. */
export function milliseconds<F extends Facts<number> & Range>(facts: F): Result<number, F> {
  return make({ kind: "integer", ...range(facts) }, { unit: "milliseconds", ...facts }) as Result<number, F>;
}

/** A number of bytes: an integer, or a string with a unit. */
export function size<F extends Facts<number> & Range>(facts: F): Result<number, F> {
  return make({ kind: "size", ...range(facts) }, { unit: "bytes", ...facts }) as Result<number, F>;
}

interface ChoiceFacts<V extends string> {
  readonly values: readonly V[];
  readonly choiceAliases?: Readonly<Record<string, V>>;
  readonly ignoreCase?: boolean;
  readonly unsupported?: Readonly<Record<string, string>>;
}

export function choice<const V extends string, F extends Facts<NoInfer<V>>>(
  facts: F & ChoiceFacts<V>,
): Result<V, F> {
  const type: ChoiceType = {
    kind: "choice",
    values: facts.values,
    aliases: facts.choiceAliases ?? {},
    ignoreCase: facts.ignoreCase ?? false,
    unsupported: facts.unsupported ?? {},
  };
  return make(type, facts) as Result<V, F>;
}

/** A list of strings; one string alone is taken as a list of one. */
export function strings<F extends Facts<readonly string[]> & { countMin?: number; check?: StringCheck }>(
  facts: F,
): Result<readonly string[], F> {
  const type: OptionType = { kind: "strings", countMin: facts.countMin ?? 0 };
  return make(withCheck(type, facts.check), facts) as Result<readonly string[], F>;
}

/** A table of texts. */
export function texts(
  facts: CommonFacts & Omit<TextsType, "kind"> & { readonly defaultText: string },
): Option<NamedTexts | null> {
  const { countMax, checkName, check } = facts;
  const type: OptionType = { kind: "texts", countMax, checkName, check };
  return make(type, { ...facts, default: null }) as Option<NamedTexts | null>;
}

/** "host:port" addresses: a comma list or an array. */
export function addresses<F extends Facts<readonly string[]>>(facts: F): Result<readonly string[], F> {
  return make({ kind: "addresses" }, facts) as Result<readonly string[], F>;
}

/** Fixes the type of a group's options; the group itself is only data. */
export function group<const O extends Options>(facts: OptionGroup<O>): OptionGroup<O> {
  return facts;
}

function range(facts: Range): Range {
  return facts.special === undefined
    ? { min: facts.min, max: facts.max }
    : { min: facts.min, max: facts.max, special: facts.special };
}

function withCheck(type: OptionType, check: StringCheck | undefined): OptionType {
  return check === undefined ? type : { ...type, check } as OptionType;
}

function make(type: OptionType, facts: Facts<unknown>): Option<unknown> {
  const required = "required" in facts;
  const requiredWhen = "requiredWhen" in facts ? facts.requiredWhen : null;
  return {
    type,
    default: required ? undefined : requiredWhen !== null ? null : (facts as { default: unknown }).default,
    defaultText: "defaultText" in facts ? facts.defaultText : null,
    required,
    requiredWhen,
    requiredUnless: "requiredUnless" in facts ? facts.requiredUnless ?? null : null,
    unit: facts.unit ?? null,
    doc: facts.doc,
    example: facts.example,
    aliases: facts.aliases ?? [],
    secret: facts.secret ?? false,
  };
}
