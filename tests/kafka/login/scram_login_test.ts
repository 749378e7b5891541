import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { ApiKey } from "../../../src/kafka/protocol/api_keys.ts";
import { WireReader, WireWriter } from "../../../src/kafka/protocol/wire.ts";
import { FakeBroker } from "../../support/fake_broker.ts";
import { connectTo, failureOf } from "../support.ts";

// Whoever answers at a broker's address has to prove that he knows the password, too, and cannot make shipper prove it weakly or work for long.

const LOGIN = { mechanism: "SCRAM-SHA-256", username: "shipper", password: "secret-4711" } as const;
const SALT = Buffer.from("salt of the user");
const REFUSED = "it refused SASL SCRAM-SHA-256 authentication";

let broker: FakeBroker;
/** What the broker says first, by the client's nonce; and last, by the signature that it should give. */
let first: (nonce: string) => string;
let last: (signature: string) => string;
beforeEach(async () => {
  broker = await FakeBroker.start();
  first = (nonce) => `r=${nonce}server,s=${SALT.toString("base64")},i=4096`;
  last = (signature) => `v=${signature}`;
  const said: string[] = [];
  broker.on(ApiKey.SaslHandshake, () => {
    said.length = 0;
    return { body: written((writer) => writer.int16(0).arrayLength(1).string(LOGIN.mechanism)) };
  });
  broker.on(ApiKey.SaslAuthenticate, ({ body }) => {
    said.push(new WireReader(body, false).nullableBytes()!.toString());
    const nonce = /r=([^,]+)/u.exec(said[0]!)![1]!;
    if (said.length === 1) said.push(first(nonce));
    else said.push(last(signatureOf(said as [string, string, string])));
    const answer = Buffer.from(said.at(-1)!);
    return {
      body: written((writer) => writer.int16(0).string(null).bytesLength(answer.length).raw(answer).int64(0)),
    };
  });
});
afterEach(() => broker.stop());

function written(write: (writer: WireWriter) => WireWriter): Buffer {
  return Buffer.from(write(new WireWriter(false)).slice());
}

/** RFC 5802, of the client's first message, the server's and the client's last. */
function signatureOf([clientFirst, serverFirst, clientLast]: [string, string, string]): string {
  const message = [clientFirst.replace("n,,", ""), serverFirst, clientLast.replace(/,p=.*$/u, "")].join(",");
  const salted = pbkdf2Sync(LOGIN.password, SALT, 4_096, 32, "sha256");
  const hmac = (key: Buffer, text: string) => createHmac("sha256", key).update(text).digest();
  const stored = createHash("sha256").update(hmac(salted, "Client Key")).digest();
  const proof = Buffer.from(/p=(.*)$/u.exec(clientLast)![1]!, "base64");
  const clientKey = hmac(stored, message).map((byte, i) => byte ^ proof[i]!);
  expect(createHash("sha256").update(clientKey).digest()).toEqual(stored);
  return hmac(hmac(salted, "Server Key"), message).toString("base64");
}

const connect = () => connectTo(broker.port, { login: LOGIN });

test("who knows the password is taken", async () => {
  const connection = await connect();
  expect(connection.isOpen).toBe(true);
  connection.close();
});

describe("refused", () => {
  const cases: Record<string, { prepare: () => void; said: string; exchanges: number }> = {
    "a wrong signature": {
      prepare: () => last = () => `v=${Buffer.alloc(32).toString("base64")}`,
      said: "Invalid server signature",
      exchanges: 2,
    },
    "no signature": { prepare: () => last = () => "x=1", said: "", exchanges: 2 },
    "another nonce than ours": {
      prepare: () => first = () => `r=other,s=${SALT.toString("base64")},i=4096`,
      said: "it does not start with the client nonce",
      exchanges: 1,
    },
    "few iterations": {
      prepare: () => first = (nonce) => `r=${nonce}x,s=${SALT.toString("base64")},i=4095`,
      said: "4095 is less than the minimum 4096",
      exchanges: 1,
    },
    "more iterations than anybody uses": {
      prepare: () => first = (nonce) => `r=${nonce}x,s=${SALT.toString("base64")},i=2147483647`,
      said: "it asks for 2147483647 iterations, and at most 1000000 are done here",
      exchanges: 1,
    },
    "the same behind an even count": {
      prepare: () => first = (nonce) => `r=${nonce}x,s=${SALT.toString("base64")},i=4096,i=2147483647`,
      said: "it asks for 2147483647 iterations",
      exchanges: 1,
    },
  };
  for (const [name, { prepare, said, exchanges }] of Object.entries(cases)) {
    test(name, async () => {
      prepare();
      const failure = await failureOf(connect());
      expect(failure.code).toBe("sasl-refused");
      expect(failure.message).toContain(REFUSED);
      expect(failure.message).toContain(said);
      expect(failure.message).not.toContain(LOGIN.password);
      expect(broker.countOf(ApiKey.SaslAuthenticate)).toBe(exchanges);
    });
  }
});
