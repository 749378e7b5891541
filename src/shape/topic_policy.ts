import type { TopicPolicyConfig } from "../config/config.ts";

/** Kafka's own topics, and those of programs that keep their state in it, begin like this. */
const INTERNAL_PREFIX = "__";

/** Which topics a sink may write to, when their names are made of what events hold. */
export class TopicPolicy {
  /** Where events without a topic of their own go; null: nowhere. */
  readonly fallback: string | null;
  readonly #allowed: RegExp | null;
  readonly #reserved: ReadonlySet<string>;
  readonly #allowsInternal: boolean;

  /** `literalPrefix` is what all names begin with anyway. */
  constructor({ allowed, fallback, reserved }: TopicPolicyConfig, literalPrefix: string) {
    this.fallback = fallback;
    this.#allowed = allowed === null ? null : patternsOf(allowed);
    this.#reserved = new Set(reserved);
    // Who wrote it into the configuration means it.
    this.#allowsInternal = allowed !== null || literalPrefix.startsWith(INTERNAL_PREFIX);
  }

  allows(topic: string): boolean {
    if (this.#reserved.has(topic)) return false;
    if (this.#allowed !== null) return this.#allowed.test(topic);
    return this.#allowsInternal || !topic.startsWith(INTERNAL_PREFIX);
  }
}

/** Any of the patterns, in which "*" is any text and nothing else has a meaning. A "*" at the start means no internal topic. */
function patternsOf(patterns: readonly string[]): RegExp {
  const parts = patterns.map((pattern) => {
    const text = pattern.split("*").map((part) => part.replaceAll(".", "\\.")).join(".*");
    return pattern.startsWith("*") ? `(?!${INTERNAL_PREFIX})${text}` : text;
  });
  return new RegExp(`^(?:${parts.join("|")})$`, "u");
}
