import { expect, test } from "bun:test";
import fc from "fast-check";
import { parseJaas } from "../../src/config/sasl_jaas.ts";

const SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule";
const PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule";

function login(module: "plain" | "scram", username: string, password: string) {
  return { ok: true as const, module, username, password };
}

test("the forms that Kafka's documentation shows are read", () => {
  expect(parseJaas(`${SCRAM} required username="me" password="secret";`)).toEqual(
    login("scram", "me", "secret"),
  );
  expect(parseJaas(`${PLAIN} required \\\n  username="me" \\\n  password="secret";`.replaceAll("\\\n", "\n")))
    .toEqual(login("plain", "me", "secret"));
  expect(parseJaas(`  kafkashaded.${PLAIN}  REQUIRED\n\tpassword='p' username=me ;\n`)).toEqual(
    login("plain", "me", "p"),
  );
  expect(parseJaas(`${SCRAM} required username="me" password="p" tokenauth="false";`)).toEqual(
    login("scram", "me", "p"),
  );
});

test("quotes and backslashes are taken as Java takes them", () => {
  expect(parseJaas(`${PLAIN} required username="a b" password="x\\"y\\\\z;='";`)).toEqual(
    login("plain", "a b", `x"y\\z;='`),
  );
  expect(parseJaas(`${PLAIN} required username='a"b' password='';`)).toEqual(login("plain", 'a"b', ""));
});

test("any user and password come back as they were quoted", () => {
  const quoted = (value: string) => `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.string(), (username, password) => {
      const text = `${SCRAM} required username=${quoted(username)} password=${quoted(password)};`;
      expect(parseJaas(text)).toEqual(login("scram", username, password));
    }),
    { numRuns: 500, seed: 3 },
  );
});

test("what is wrong is said, without a word of the text", () => {
  const reasons: readonly (readonly [string, RegExp])[] = [
    ["", /does not begin with PlainLoginModule/],
    ["hunter2", /does not begin with PlainLoginModule/],
    ["toString required username=hunter2 password=p;", /does not begin with PlainLoginModule/],
    [`"${PLAIN}" required username=hunter2 password=p;`, /does not begin/],
    [`${PLAIN} username="hunter2" password="p";`, /"required" is missing/],
    [`${PLAIN} required username="hunter2" password="p"`, /semicolon at its end is missing/],
    [`${PLAIN} required username="hunter2" password="p;`, /quote is not closed/],
    [`${PLAIN} required username="hunter2" password="p\\`, /quote is not closed/],
    [`${PLAIN} required username="hunter2" password="p"; ${SCRAM} required;`, /behind its semicolon/],
    [`${PLAIN} required username "hunter2" password="p";`, /name="value"/],
    [`${PLAIN} required username="hunter2" password=;`, /name="value"/],
    [`${PLAIN} required username=hunter2 password="a" b";`, /quote is not closed/],
    [`${PLAIN} required username="hunter2" password="a" b;`, /name="value"/],
    [`${PLAIN} required username="hunter2" password="p" keyTab="x";`, /other than username and password/],
    [`${PLAIN} required username="hunter2" username="b" password="p";`, /username twice/],
    [`${PLAIN} required password="hunter2";`, /no username/],
    [`${PLAIN} required username="" password="hunter2";`, /no username/],
    [`${PLAIN} required username="hunter2";`, /no password/],
  ];
  for (const [text, reason] of reasons) {
    const jaas = parseJaas(text);
    if (jaas.ok) throw new Error(`${text} was read`);
    expect(jaas.code, text).toBe("bad-value");
    expect(jaas.reason, text).toMatch(reason);
    expect(jaas.reason, text).not.toContain("hunter2");
  }
});

test("logins that shipper does not have are named", () => {
  const texts: Readonly<Record<string, string>> = {
    'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId="a";':
      "OAUTHBEARER",
    "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true;": "Kerberos",
    "software.amazon.msk.auth.iam.IAMLoginModule required;": "AWS_MSK_IAM",
    [`${SCRAM} required username="a" password="b" tokenauth=true;`]: "delegation tokens",
  };
  for (const [text, name] of Object.entries(texts)) {
    const jaas = parseJaas(text);
    if (jaas.ok) throw new Error(`${text} was read`);
    expect(jaas.code).toBe("not-supported");
    expect(jaas.reason).toContain(name);
  }
});

test("no text makes it throw", () => {
  const part = fc.constantFrom(
    PLAIN,
    SCRAM,
    "required",
    "username",
    "password",
    "=",
    ";",
    '"',
    "'",
    "\\",
    " ",
    "\n",
    "a",
    "__proto__",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 14 }), (parts) => {
      expect(typeof parseJaas(parts.join("")).ok).toBe("boolean");
    }),
    { numRuns: 2_000, seed: 5 },
  );
});
