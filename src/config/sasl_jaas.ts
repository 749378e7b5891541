/**
 * The login of a Kafka client as Java writes it (KIP-85): one login module, a flag, options, and a semicolon.
 *
 *     org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="p";
 */
export type Jaas =
  | {
    readonly ok: true;
    readonly module: "plain" | "scram";
    readonly username: string;
    readonly password: string;
  }
  | JaasError;

export interface JaasError {
  readonly ok: false;
  readonly code: "bad-value" | "not-supported";
  /** Holds nothing of the text: it may be a secret. */
  readonly reason: string;
  readonly hint: string;
}

const INSTEAD = "set sasl.mechanism, sasl.username and sasl.password instead";

const FLAGS = ["required", "requisite", "sufficient", "optional"];

/** By the last part of the class: some vendors put their own package before it. */
const MODULES: Readonly<Record<string, "plain" | "scram">> = {
  PlainLoginModule: "plain",
  ScramLoginModule: "scram",
};

/** Modules of other mechanisms: why they are not read, and what to do instead. */
const OTHER_MODULES: Readonly<Record<string, { readonly reason: string; readonly hint: string }>> = {
  OAuthBearerLoginModule: {
    reason: "a login with OAUTHBEARER is not read from such a text",
    hint: 'set sasl.mechanism = "OAUTHBEARER" and the options of sasl.oauthbearer instead',
  },
  Krb5LoginModule: {
    reason: "shipper does not log in with GSSAPI (Kerberos)",
    hint: INSTEAD,
  },
  IAMLoginModule: {
    reason: "a login with AWS_MSK_IAM is not read from such a text",
    hint: 'set sasl.mechanism = "AWS_MSK_IAM", and the options of sasl.aws, instead',
  },
};

interface Token {
  readonly kind: "word" | "quoted" | "sign";
  readonly text: string;
}

/**
 * Reads a JAAS text. Values stand in single or double quotes, in which a backslash takes the next character
 * as it is, or bare.
 */
export function parseJaas(text: string): Jaas {
  const tokens = tokenize(text);
  if (tokens === null) return bad("a quote is not closed");
  const [module, flag] = tokens;
  const name = module?.kind === "word" ? module.text.slice(module.text.lastIndexOf(".") + 1) : "";
  const other = Object.hasOwn(OTHER_MODULES, name) ? OTHER_MODULES[name] : undefined;
  if (other !== undefined) {
    return { ok: false, code: "not-supported", ...other };
  }
  if (!Object.hasOwn(MODULES, name)) {
    return bad("it does not begin with PlainLoginModule or ScramLoginModule");
  }
  if (flag?.kind !== "word" || !FLAGS.includes(flag.text.toLowerCase())) {
    return bad('"required" is missing behind the login module');
  }
  const end = tokens.findIndex((each) => each.kind === "sign" && each.text === ";");
  if (end === -1) return bad("the semicolon at its end is missing");
  if (end !== tokens.length - 1) {
    return bad("something stands behind its semicolon; one login module is possible");
  }
  const options = readOptions(tokens.slice(2, end));
  if (typeof options === "string") return bad(options);
  if ((options.get("tokenauth") ?? "false").toLowerCase() !== "false") {
    const reason = "shipper does not log in with delegation tokens";
    return { ok: false, code: "not-supported", reason, hint: INSTEAD };
  }
  const username = options.get("username");
  const password = options.get("password");
  if (username === undefined || username === "") return bad("it has no username");
  if (password === undefined) return bad("it has no password");
  return { ok: true, module: MODULES[name]!, username, password };
}

const KNOWN_OPTIONS = ["username", "password", "tokenauth"];

/** `name = value` one after the other; a reason when it is not that. */
function readOptions(tokens: readonly Token[]): Map<string, string> | string {
  const options = new Map<string, string>();
  for (let at = 0; at < tokens.length; at += 3) {
    const [name, sign, value] = tokens.slice(at, at + 3);
    if (
      name!.kind !== "word" || sign?.text !== "=" || sign.kind !== "sign" || value === undefined ||
      value.kind === "sign"
    ) {
      return 'an option is not written as name="value"';
    }
    if (!KNOWN_OPTIONS.includes(name!.text)) return "it has an option other than username and password";
    if (options.has(name!.text)) return `it has ${name!.text} twice`;
    options.set(name!.text, value.text);
  }
  return options;
}

/** Null when a quote is not closed. */
function tokenize(text: string): Token[] | null {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const character = text[at]!;
    if (/\s/u.test(character)) {
      at++;
    } else if (character === ";" || character === "=") {
      tokens.push({ kind: "sign", text: character });
      at++;
    } else if (character === '"' || character === "'") {
      let value = "";
      for (at++; at < text.length && text[at] !== character; at++) {
        if (text[at] === "\\") at++;
        value += text[at] ?? "";
      }
      if (at >= text.length) return null;
      tokens.push({ kind: "quoted", text: value });
      at++;
    } else {
      const word = /^[^\s;="']+/u.exec(text.slice(at))![0];
      tokens.push({ kind: "word", text: word });
      at += word.length;
    }
  }
  return tokens;
}

function bad(reason: string): JaasError {
  return { ok: false, code: "bad-value", reason, hint: INSTEAD };
}
