import { createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Paths of what the brokers check OAUTHBEARER tokens with, and of what signs them. */
export interface TokenKey {
  readonly tokenKey: string;
  readonly tokenKeySet: string;
}

export interface TokenClaims {
  /** Becomes the user: "User:admin". */
  readonly sub: string;
  /** From now on; negative: it has ended. */
  readonly lifeSeconds: number;
}

const KEY_ID = "test";

/** Makes a key pair: the private key as PEM, the public one as a JSON Web Key Set. */
export function makeTokenKey(dir: string): TokenKey {
  const made = { tokenKey: join(dir, "token.key"), tokenKeySet: join(dir, "token_keys.json") };
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
  writeFileSync(made.tokenKey, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: KEY_ID, alg: "RS256", use: "sig" };
  writeFileSync(made.tokenKeySet, JSON.stringify({ keys: [jwk] }));
  return made;
}

/** A signed JSON Web Token (RS256) that the brokers of the cluster take. */
export function makeToken(tokenKey: string, { sub, lifeSeconds }: TokenClaims): string {
  const nowSeconds = Math.floor(Date.now() / 1_000);
  const header = { alg: "RS256", typ: "JWT", kid: KEY_ID };
  const claims = {
    sub,
    scope: "kafka",
    iat: Math.min(nowSeconds, nowSeconds + lifeSeconds),
    exp: nowSeconds + lifeSeconds,
  };
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part(header)}.${part(claims)}`;
  const signature = sign("sha256", Buffer.from(text), createPrivateKey(readFileSync(tokenKey)));
  return `${text}.${signature.toString("base64url")}`;
}
