/**
 * A value as it would be written in a configuration; a string is what it is after expansion, a list of pairs a table. Null has no text in
 * TOML.
 */
export function tomlText(value: unknown): string {
  if (Array.isArray(value) && value.length > 0 && value.every(Array.isArray)) {
    const entries = value.map(([name, text]) => `${tomlText(name)} = ${tomlText(text)}`);
    return `{ ${entries.join(", ")} }`;
  }
  if (Array.isArray(value)) return `[${value.map(tomlText).join(", ")}]`;
  return typeof value === "string" ? tomlString(value) : String(value);
}

/** Without characters that steer a terminal, and with "$$" where a dollar would be read as a reference. */
function tomlString(value: string): string {
  const dollars = value.replace(/\$(?=[{$])/gu, "$$$$");
  // JSON escapes as TOML does, but leaves these.
  return JSON.stringify(dollars).replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
