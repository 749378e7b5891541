/**
 * How a property of another Kafka client is declared: once, as one line of a table (librdkafka_producer.ts,
 * librdkafka_consumer.ts, librdkafka_java.ts). The checks (librdkafka_check.ts), docs/librdkafka_options.md,
 * completion and the tests come from these tables.
 */
export type Property = MappedProperty | IgnoredProperty;

/** A property that says what an option says. */
export interface MappedProperty {
  readonly kind: "mapped";
  /** The option's key. */
  readonly option: string;
  /** Values by their spelling there, in lower case; one that is not here is taken as it is. */
  readonly values: Readonly<Record<string, ValueMeaning>>;
  /** Makes of a value's text, after expansion, what the option takes. Null: it is taken as it is. */
  readonly convert: Conversion | null;
  /** What else has to be so; otherwise the property has no effect, which is warned about. */
  readonly onlyWith: Condition | null;
}

/** A value of the option; or "leave": the option stays as it is without the property, and `warning` says why. */
export type ValueMeaning = string | { readonly leave: true; readonly warning: string | null };

export interface Conversion {
  /** For the docs: "counted in KiB there". */
  readonly doc: string;
  /** The text is trimmed. Returns what it does not understand as it is: the option's own check refuses it. */
  readonly apply: (text: string) => string;
}

export interface Condition {
  readonly option: string;
  /** Another one that does as well, where any value does. */
  readonly orOption?: string;
  /** Null: any, but given. */
  readonly value: string | null;
  /** Goes after "has no effect: ". */
  readonly reason: string;
}

/** A property that no option stands for. */
export interface IgnoredProperty {
  readonly kind: "ignored";
  /** "error" where leaving it out could lose or misdeliver records, or weaken who is trusted. */
  readonly severity: "error" | "warning";
  /** Goes after "has no effect: " or "Cannot use option ...: ". */
  readonly reason: string;
  /** Something to type instead; null: nothing but to remove it. */
  readonly hint: string | null;
  /** In lower case: values that ask for what is done anyway. They pass in silence. */
  readonly same: readonly string[];
}

interface MappedFacts {
  readonly values?: Readonly<Record<string, ValueMeaning>>;
  readonly convert?: Conversion;
  readonly onlyWith?: Condition;
}

/** Sets an option. */
export function to(option: string, facts: MappedFacts = {}): MappedProperty {
  return {
    kind: "mapped",
    option,
    values: facts.values ?? {},
    convert: facts.convert ?? null,
    onlyWith: facts.onlyWith ?? null,
  };
}

/** A value that leaves the option as it is; with a reason it is warned about. */
export function leave(warning: string | null = null): ValueMeaning {
  return { leave: true, warning };
}

interface IgnoredFacts {
  readonly same?: readonly string[];
  readonly hint?: string;
}

/** Has no meaning here: a warning says why. */
export function unused(reason: string, facts: IgnoredFacts = {}): IgnoredProperty {
  return ignored("warning", reason, facts);
}

/** Neglecting it could lose, misdeliver or expose records: an error. */
export function refused(reason: string, facts: IgnoredFacts & { readonly hint: string }): IgnoredProperty {
  return ignored("error", reason, facts);
}

/** One of a consumer. */
export const consumer = unused("it is for consumers");

/** One that no configuration file can hold. */
export const program = unused("a program sets it through an interface, and no file does");

function ignored(
  severity: "error" | "warning",
  reason: string,
  facts: IgnoredFacts,
): IgnoredProperty {
  return { kind: "ignored", severity, reason, hint: facts.hint ?? null, same: facts.same ?? [] };
}
