import type { StringProblem } from "./option.ts";

/** Checks of single strings about logins. Each returns null for a good one. */

/** RFC 6750. */
export function checkToken(value: string): StringProblem | null {
  if (/^\s*[A-Za-z0-9._~+/-]+=*\s*$/u.test(value)) return null;
  const reason = value.trim() === "" ? "it is empty" : "a token has letters, digits and . _ ~ + / - alone";
  return { code: "bad-value", reason, hint: 'write the token alone, without "Bearer" in front' };
}

export function checkHttpUrl(value: string): StringProblem | null {
  const url = URL.canParse(value) ? new URL(value) : null;
  if (url === null || !/^https?:$/u.test(url.protocol)) {
    const hint = 'write it as "https://id.example.org/oauth2/token"';
    return { code: "bad-value", reason: "expected a URL with https:// or http://", hint };
  }
  if (url.username === "" && url.password === "") return null;
  return {
    code: "bad-value",
    reason: "it holds a user and a password",
    hint: "use sasl.oauthbearer.client_id and sasl.oauthbearer.client_secret",
  };
}

/** KIP-342: names are letters, values have no separator of the message, and "auth" is the token's own. */
export function checkExtensions(value: string): StringProblem | null {
  const hint = 'write it as "logicalCluster=lkc-1,identityPoolId=pool-2"';
  const seen = new Set<string>();
  for (const pair of value.split(",")) {
    const [, name, text] = /^\s*([^=]*?)\s*=\s*(.*?)\s*$/u.exec(pair) ?? [];
    if (name === undefined) return { code: "bad-value", reason: "expected name=value", hint, part: pair };
    if (!/^[A-Za-z]+$/u.test(name) || name === "auth") {
      return { code: "bad-value", reason: "a name has letters alone, and is not auth", hint, part: pair };
    }
    if (!/^[\x21-\x7e]+$/u.test(text!)) {
      return {
        code: "bad-value",
        reason: "a value has printable ASCII characters, at least one",
        hint,
        part: pair,
      };
    }
    if (seen.has(name)) return { code: "bad-value", reason: "a name is there twice", hint, part: pair };
    seen.add(name);
  }
  return null;
}

/** By name; of what `checkExtensions` has passed. */
export function parseExtensions(value: string | null): Record<string, string> {
  if (value === null) return {};
  return Object.fromEntries(
    value.split(",").map((pair) => {
      const at = pair.indexOf("=");
      return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
    }),
  );
}

/** It becomes a part of a host name. */
export function checkAwsRegion(value: string): StringProblem | null {
  if (/^[a-z]{2}(-[a-z]+)+-\d+$/u.test(value)) return null;
  return { code: "bad-value", reason: "expected the name of a region", hint: 'write it as "eu-central-1"' };
}

export function checkRoleArn(value: string): StringProblem | null {
  if (/^arn:aws[a-z-]*:iam::\d{12}:role\/\S+$/u.test(value)) return null;
  const hint = 'write it as "arn:aws:iam::111122223333:role/log-writer"';
  return { code: "bad-value", reason: "expected the ARN of a role", hint };
}
