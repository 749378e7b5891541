import type { Condition, Conversion } from "./librdkafka_property.ts";

/** What properties of several tables share. */

/** The larger of two meanings of the same number: nothing is flushed earlier than asked for. */
export const WHOLE_MS: Conversion = {
  doc: "a fraction is rounded up",
  apply: (text) => /^[0-9]*\.[0-9]+$/u.test(text) ? String(Math.ceil(Number(text))) : text,
};

export const KIB: Conversion = {
  doc: "counted in KiB there",
  apply: (text) => /^[0-9]+$/u.test(text) ? String(Number(text) * 1_024) : text,
};

/** Retries are counted there, attempts here. */
export const FIRST_TRY_TOO: Conversion = {
  doc: "one attempt more than retries there",
  apply: (text) => /^[0-9]+$/u.test(text) ? String(Number(text) + 1) : text,
};

/** A line of figures is for people, where statistics are for programs. */
export const INTERVAL_SECS: Conversion = {
  doc: "milliseconds there; at least 2 s",
  apply: (text) => /^[1-9][0-9]*$/u.test(text) ? String(Math.max(2, Number(text) / 1_000)) : text,
};

/** librdkafka takes brokers without a port. */
export const DEFAULT_PORT: Conversion = {
  doc: "a broker without a port has 9092",
  apply: (text) =>
    text.split(",").map((each) => each.trim())
      .map((each) => /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$/u.test(each) ? `${each}:9092` : each)
      .join(","),
};

export const MEMORY_BUFFER: Condition = {
  option: "buffer.type",
  value: "memory",
  reason: 'it is about a buffer in memory, and buffer.type is "disk"',
};

export const WITH_KEYS: Condition = {
  option: "key_field",
  orOption: "key",
  value: null,
  reason: "records have no key, as neither key_field nor key is set",
};

/** A level for one codec alone. */
export function withCodec(codec: string): Condition {
  return { option: "compression", value: codec, reason: `compression is not ${JSON.stringify(codec)}` };
}
