import type { StringProblem } from "./option.ts";
import { quote } from "./source_text.ts";

/** Checks of single strings. Each returns null for a good one. */

/** Kafka allows these characters, at most 249 of them. */
const TOPIC_LITERAL = /^[A-Za-z0-9._-]*$/u;
const TOPIC_CHARACTERS_MAX = 249;

/** Far below what the protocol allows: it is in the key of every position. */
const TRANSACTIONAL_ID_CHARACTERS_MAX = 500;

/** strftime specifiers of a topic template; a test compares them with those that src/shape knows. */
const TIME_SPECIFIERS = "YmdHMSjs";

/** A broker or listen address. */
export function checkAddress(value: string): StringProblem | null {
  const scheme = /^([A-Za-z_]+):\/\//u.exec(value)?.[0];
  if (scheme !== undefined) {
    return {
      code: "bad-address",
      reason: 'expected "host:port"',
      hint: `remove ${quote(scheme)}; encryption is set by tls.enabled and sasl.enabled`,
    };
  }
  const match = /^(\[[0-9A-Fa-f:.%A-Za-z]+\]|[^\s:[\]/@,]+):([0-9]+)$/u.exec(value);
  if (match === null) {
    const hostOnly = /^(?:[^\s:[\]/@,]+|\[[0-9A-Fa-f:.]+\])$/u.test(value);
    return {
      code: "bad-address",
      reason: 'expected "host:port"',
      hint: hostOnly
        ? `add the port; Kafka listens on 9092 unless it was changed: ${quote(`${value}:9092`)}`
        : 'write it as "kafka-1:9092", or with an IPv6 address as "[fd00::1]:9092"',
    };
  }
  const port = Number(match[2]);
  if (port >= 1 && port <= 65_535) return null;
  return {
    code: "bad-address",
    reason: `port ${match[2]} is not between 1 and 65535`,
    hint: "Kafka listens on 9092",
  };
}

/** Where the HTTP server listens: "host:port" or "unix:/path". Port 0 takes a free one. */
export function checkListenAddress(value: string): StringProblem | null {
  if (value.startsWith("unix:")) {
    if (value.startsWith("unix:/") && value.length <= "unix:".length + 107) return null;
    return {
      code: "bad-address",
      reason: "the path of a Unix socket begins with / and has at most 107 bytes",
      hint: 'write it as "unix:/run/shipper/api.sock"',
    };
  }
  if (/:0+$/u.test(value)) return checkAddress(value.replace(/:0+$/u, ":1"));
  const problem = checkAddress(value);
  if (problem === null) return null;
  return { ...problem, reason: 'expected "host:port" or "unix:/path"', hint: 'write it as "127.0.0.1:8686"' };
}

/** A topic: `{{field}}`, strftime, and between them what Kafka allows in a name. */
export function checkTopic(value: string): StringProblem | null {
  if (value === "") return bad("bad-template", "a topic name is empty", 'write a name, such as "logs"');
  let literalCount = 0;
  const problem = checkTemplateParts(value, (character) => {
    literalCount++;
    if (TOPIC_LITERAL.test(character)) return null;
    const hint = character === "{" || character === "}"
      ? 'a field of the event is written with two braces: "logs-{{unit}}"'
      : "a topic name has letters, digits, dots, underscores and hyphens";
    return bad("bad-template", `Kafka allows no ${quote(character)} in a topic name`, hint, character);
  });
  if (problem !== null) return problem;
  if (literalCount > TOPIC_CHARACTERS_MAX) {
    return bad("bad-template", `the name has ${literalCount} characters, and Kafka allows 249`, "shorten it");
  }
  if (value === "." || value === "..") {
    return bad("bad-template", `Kafka allows no topic named ${quote(value)}`, 'write a name, such as "logs"');
  }
  return null;
}

/** A template: `{{field}}`, strftime, and any text between them. */
export function checkTemplate(value: string): StringProblem | null {
  return checkTemplateParts(value, () => null);
}

/** Reads a template; `checkLiteral` is asked for each character that is neither in a field nor in a time. */
function checkTemplateParts(
  value: string,
  checkLiteral: (character: string) => StringProblem | null,
): StringProblem | null {
  let rest = value;
  while (rest !== "") {
    if (rest.startsWith("{{")) {
      const end = rest.indexOf("}}");
      if (end === -1) return bad("bad-template", '"{{" is not closed', 'write a field as "{{unit}}"', rest);
      const field = rest.slice(0, end + 2);
      if (checkFieldPath(rest.slice(2, end).trim()) !== null) {
        return bad("bad-template", `${quote(field)} names no field`, 'write a field as "{{unit}}"', field);
      }
      rest = rest.slice(field.length);
    } else if (rest.startsWith("%")) {
      const specifier = Array.from(rest)[1] ?? "";
      // A topic has no percent sign: there "%%" is refused with its character.
      if (specifier === "%" && checkLiteral("%") === null) {
        rest = rest.slice(2);
        continue;
      }
      if (specifier === "" || !TIME_SPECIFIERS.includes(specifier)) {
        const hint = `these are: ${Array.from(TIME_SPECIFIERS, (each) => `%${each}`).join(" ")}`;
        return bad("bad-template", `${quote(`%${specifier}`)} is no part of a date`, hint, `%${specifier}`);
      }
      rest = rest.slice(2);
    } else {
      const [character] = Array.from(rest) as [string];
      const problem = checkLiteral(character);
      if (problem !== null) return problem;
      rest = rest.slice(character.length);
    }
  }
  return null;
}

/** The name of a record header. */
export function checkHeaderName(value: string): StringProblem | null {
  if (value !== "" && !/\p{Cc}/u.test(value)) return null;
  return bad("bad-value", `${quote(value)} is no name of a header`, 'write a name, such as "trace_id"');
}

/** Whether a topic is one topic whatever the event: no field, no time. */
export function isConstantTopic(value: string): boolean {
  return !value.includes("{{") && !value.includes("%");
}

/** The name of one topic. */
export function checkTopicName(value: string): StringProblem | null {
  const problem = checkTopic(value);
  if (problem !== null || isConstantTopic(value)) return problem;
  return bad(
    "bad-template",
    "one topic is expected, without fields and times",
    "write a name without {{...}} and %",
  );
}

/** The name of a topic, in which "*" stands for any text. */
export function checkTopicPattern(value: string): StringProblem | null {
  if (/^[A-Za-z0-9._*-]+$/u.test(value)) return null;
  return bad(
    "bad-value",
    `${quote(value)} is no pattern of a topic`,
    'write letters, digits, dots, underscores, hyphens and "*", such as "logs-*"',
  );
}

/** Any text but NUL, which stands behind it in the keys of positions; of a length that brokers take. */
export function checkTransactionalId(value: string): StringProblem | null {
  const problem = checkNotEmpty(value);
  if (problem !== null || value.length <= TRANSACTIONAL_ID_CHARACTERS_MAX) return problem;
  return bad("bad-value", `it has more than ${TRANSACTIONAL_ID_CHARACTERS_MAX} characters`, "shorten it");
}

/** The variables that a client id may hold; both are known at start. */
export function checkClientId(value: string): StringProblem | null {
  for (const [reference, name] of value.matchAll(/\{\{\s*([^{}]*?)\s*\}\}/gu)) {
    if (name === "host" || name === "sink_id") continue;
    const hint = 'these are: "{{host}}" and "{{sink_id}}"';
    return bad("bad-template", `${quote(reference)} is not known when a client id is made`, hint, reference);
  }
  return null;
}

/** A dotted path of a field; a name that holds a dot is quoted: `"a.b".c`. */
export function checkFieldPath(value: string): StringProblem | null {
  if (/^(?:"[^"]*"|[^."]+)(?:\.(?:"[^"]*"|[^."]+))*$/u.test(value)) return null;
  return bad("bad-value", `${quote(value)} is no field`, 'write a field as "message" or "request.method"');
}

/** A glob: non-empty, with its brackets closed. */
export function checkGlob(value: string): StringProblem | null {
  if (value.trim() === "") {
    return bad("bad-value", "the pattern is empty", 'write a path, such as "/var/log/app/*.log"');
  }
  if (value.includes("\0")) return bad("bad-value", "the pattern holds a NUL", "remove it");
  const tilde = checkTilde(value);
  if (tilde !== null) return tilde;
  if (value.endsWith("/")) {
    return bad("bad-value", `${quote(value)} names a folder`, `name the files in it: ${quote(`${value}*`)}`);
  }
  return null;
}

/** A path of a file or folder, or a PEM text in its place. */
export function checkPath(value: string): StringProblem | null {
  return checkNotEmpty(value) ?? checkTilde(value);
}

/** A shell would put the home folder there; here it would be a folder of that name. */
function checkTilde(value: string): StringProblem | null {
  if (value !== "~" && !value.startsWith("~/")) return null;
  return bad(
    "bad-value",
    'a "~" at its start stands for no home folder',
    `write ${quote(`\${HOME}${value.slice(1)}`)}, or ${quote(`./${value}`)} for a folder of that name`,
  );
}

/** A path or a host name that must not be empty. */
export function checkNotEmpty(value: string): StringProblem | null {
  if (value.trim() !== "" && !value.includes("\0")) return null;
  return bad("bad-value", "the value is empty", "write one, or remove the option");
}

function bad(code: "bad-value" | "bad-template", reason: string, hint: string, part?: string): StringProblem {
  return part === undefined ? { code, reason, hint } : { code, reason, hint, part };
}
