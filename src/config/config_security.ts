/** What a connection to Kafka gets of the configuration of TLS and SASL. */

/** Those that take a user and a password. */
export type PasswordMechanism = "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";

export type SaslConfig = PasswordSasl | OAuthSasl | AwsSasl;

export interface PasswordSasl {
  readonly mechanism: PasswordMechanism;
  readonly username: string;
  readonly password: string;
}

export interface OAuthSasl {
  readonly mechanism: "OAUTHBEARER";
  readonly source: OAuthTokenSource;
  /** Told to the broker beside the token, by name. */
  readonly extensions: Readonly<Record<string, string>>;
}

/** Where tokens come from. */
export type OAuthTokenSource =
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "file"; readonly path: string }
  | {
    readonly kind: "oidc";
    readonly url: string;
    readonly clientId: string;
    readonly clientSecret: string;
    readonly scope: string | null;
    readonly audience: string | null;
    /** As in TlsConfig. */
    readonly ca: string | null;
  };

export interface AwsSasl {
  readonly mechanism: "AWS_MSK_IAM";
  readonly region: string;
  /** Null: all the usual places. */
  readonly profile: string | null;
  /** The ARN of a role; null: none. */
  readonly assumeRole: string | null;
  readonly env: AwsEnvironment;
}

/** Variables of the environment that say where credentials are; those that are empty are not there. */
export type AwsEnvironment = Readonly<
  Partial<
    Record<
      | "HOME"
      | "AWS_ACCESS_KEY_ID"
      | "AWS_CONFIG_FILE"
      | "AWS_CONTAINER_AUTHORIZATION_TOKEN"
      | "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
      | "AWS_CONTAINER_CREDENTIALS_FULL_URI"
      | "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
      | "AWS_EC2_METADATA_DISABLED"
      | "AWS_EC2_METADATA_SERVICE_ENDPOINT"
      | "AWS_ENDPOINT_URL_STS"
      | "AWS_PROFILE"
      | "AWS_ROLE_ARN"
      | "AWS_ROLE_SESSION_NAME"
      | "AWS_SECRET_ACCESS_KEY"
      | "AWS_SESSION_TOKEN"
      | "AWS_SHARED_CREDENTIALS_FILE"
      | "AWS_WEB_IDENTITY_TOKEN_FILE",
      string
    >
  >
>;

export interface TlsConfig {
  /** Paths of files, or PEM text. */
  readonly ca: string | null;
  readonly crt: string | null;
  readonly key: string | null;
  readonly keyPass: string | null;
  readonly verifyHostname: boolean;
  readonly serverName: string | null;
}
