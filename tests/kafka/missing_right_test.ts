import { expect, test } from "bun:test";
import { missingRightHint, missingRightText, type RightHolder } from "../../src/kafka/missing_right.ts";

const holder: RightHolder = { bootstrapServers: ["kafka-1:9092", "kafka-2:9092"], sasl: null, tls: null };
const topic = { kind: "topic" as const, name: "logs" };

test("a missing right is named with its user and resource, and the command that gives it", () => {
  const sasl = { mechanism: "SCRAM-SHA-512" as const, username: "edge 'x'", password: "secret" };
  const named = { ...holder, sasl };
  expect(missingRightText(named, topic, ["WRITE", "DESCRIBE"])).toBe(
    'user "edge \'x\'" lacks WRITE and DESCRIBE on topic "logs"',
  );
  expect(missingRightHint(named, topic, ["WRITE", "DESCRIBE"])).toBe(
    `kafka-acls --bootstrap-server kafka-1:9092 --add --allow-principal 'User:edge '\\''x'\\''' --operation Write --operation Describe --topic logs`,
  );
  expect(missingRightHint(holder, { kind: "cluster" }, ["IDEMPOTENT_WRITE"])).toBe(
    "kafka-acls --bootstrap-server kafka-1:9092 --add --allow-principal User:ANONYMOUS --operation IdempotentWrite --cluster",
  );
  expect(missingRightText(holder, { kind: "cluster" }, ["IDEMPOTENT_WRITE"])).toBe(
    'user "ANONYMOUS" (no login) lacks IDEMPOTENT_WRITE on the cluster',
  );
});

test("a user whose name is the brokers' to make is not guessed", () => {
  const tls = { ca: null, crt: "/c", key: "/k", keyPass: null, verifyHostname: true, serverName: null };
  expect(missingRightText({ ...holder, tls }, topic, ["WRITE"])).toContain(
    "the user of the client certificate",
  );
  expect(missingRightHint({ ...holder, tls }, topic, ["WRITE"])).toContain("User:DN-OF-THE-CERTIFICATE");
  const sasl = {
    mechanism: "OAUTHBEARER" as const,
    source: { kind: "token" as const, token: "t" },
    extensions: {},
  };
  expect(missingRightText({ ...holder, sasl }, { kind: "transactional id", name: "a b" }, ["WRITE"])).toBe(
    'the user of OAUTHBEARER lacks WRITE on transactional id "a b"',
  );
  expect(missingRightHint({ ...holder, sasl }, { kind: "transactional id", name: "a b" }, ["WRITE"]))
    .toContain(
      "--transactional-id 'a b'",
    );
});
