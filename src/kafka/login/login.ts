import type { AwsSasl, OAuthSasl, PasswordSasl, SaslConfig } from "../../config/config_security.ts";
import type { Log } from "../../telemetry/log.ts";

/** What a client says first when it logs in. */
export interface LoginMessage {
  readonly bytes: Buffer;
  /** For the message when it is refused: "the token has expired ...". Null: nothing is known. */
  readonly note: string | null;
}

/** Logging in with something that is fetched and ends: a token, or credentials that are signed with. One for all connections of a sink. */
export interface TokenLogin {
  readonly mechanism: "OAUTHBEARER" | "AWS_MSK_IAM";
  /** Fetches what it needs, or takes what it has. `host`: the broker's name. Rejects with ConnectError; takes seconds at most. */
  prepare(host: string, signal?: AbortSignal): Promise<LoginMessage>;
  /** What has to be said after the broker's answer so that it tells why it refuses; null: it has accepted. */
  reply(answer: Buffer): Buffer | null;
}

/** How connections log in. */
export type Login = PasswordSasl | TokenLogin;

export function isTokenLogin(login: Login): login is TokenLogin {
  return login.mechanism === "OAUTHBEARER" || login.mechanism === "AWS_MSK_IAM";
}

export interface LoginOptions {
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** The code of a token's mechanism is loaded with the first connection. */
export function createLogin(sasl: SaslConfig, options: LoginOptions): Login {
  if (sasl.mechanism === "OAUTHBEARER") {
    const load = async () => new (await import("./oauth_login.ts")).OAuthLogin(sasl as OAuthSasl, options);
    return new LazyLogin(sasl.mechanism, load);
  }
  if (sasl.mechanism === "AWS_MSK_IAM") {
    const load = async () => new (await import("./aws_login.ts")).AwsLogin(sasl as AwsSasl, options);
    return new LazyLogin(sasl.mechanism, load);
  }
  return sasl;
}

class LazyLogin implements TokenLogin {
  readonly mechanism: TokenLogin["mechanism"];
  readonly #load: () => Promise<TokenLogin>;
  #loading: Promise<TokenLogin> | null = null;
  #login: TokenLogin | null = null;

  constructor(mechanism: TokenLogin["mechanism"], load: () => Promise<TokenLogin>) {
    this.mechanism = mechanism;
    this.#load = load;
  }

  async prepare(host: string, signal?: AbortSignal): Promise<LoginMessage> {
    this.#loading ??= this.#load();
    this.#login ??= await this.#loading;
    return await this.#login.prepare(host, signal);
  }

  reply(answer: Buffer): Buffer | null {
    // There was a first message, so it is loaded.
    return this.#login!.reply(answer);
  }
}
