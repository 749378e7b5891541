import type { AwsEnvironment, OAuthTokenSource, SaslConfig, TlsConfig } from "./config_security.ts";
import type { Values } from "./option.ts";
import type { securityOptions } from "./options_security.ts";
import { parseExtensions } from "./security_checks.ts";

/** From checked values of TLS and SASL to what connections get. Nothing is checked here. */

export type SecurityValues = Values<typeof securityOptions>;

/** What AWS's own tools read, as far as shipper knows it. */
const AWS_VARIABLES: readonly (string & keyof AwsEnvironment)[] = [
  "HOME",
  "AWS_ACCESS_KEY_ID",
  "AWS_CONFIG_FILE",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_EC2_METADATA_DISABLED",
  "AWS_EC2_METADATA_SERVICE_ENDPOINT",
  "AWS_ENDPOINT_URL_STS",
  "AWS_PROFILE",
  "AWS_ROLE_ARN",
  "AWS_ROLE_SESSION_NAME",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_SHARED_CREDENTIALS_FILE",
  "AWS_WEB_IDENTITY_TOKEN_FILE",
];

type Env = Readonly<Record<string, string | undefined>>;

export function buildSasl(values: SecurityValues, env: Env): SaslConfig | null {
  if (!values["sasl.enabled"]) return null;
  const mechanism = values["sasl.mechanism"]!;
  if (mechanism === "OAUTHBEARER") {
    const extensions = parseExtensions(values["sasl.oauthbearer.extensions"]);
    return { mechanism, source: tokenSource(values), extensions };
  }
  if (mechanism === "AWS_MSK_IAM") {
    return {
      mechanism,
      region: values["sasl.aws.region"] ?? regionOf(env)!,
      profile: values["sasl.aws.profile"],
      assumeRole: values["sasl.aws.assume_role"],
      env: awsEnvironment(env),
    };
  }
  return { mechanism, username: values["sasl.username"]!, password: values["sasl.password"]! };
}

/** Null: neither is set. An empty one is as good as none. */
export function regionOf(env: Env): string | null {
  return env["AWS_REGION"] || env["AWS_DEFAULT_REGION"] || null;
}

function awsEnvironment(env: Env): AwsEnvironment {
  const set = AWS_VARIABLES.filter((name) => (env[name] ?? "") !== "");
  return Object.fromEntries(set.map((name) => [name, env[name]])) as AwsEnvironment;
}

function tokenSource(values: SecurityValues): OAuthTokenSource {
  const token = values["sasl.oauthbearer.token"];
  if (token !== null) return { kind: "token", token };
  const path = values["sasl.oauthbearer.token_file"];
  if (path !== null) return { kind: "file", path };
  return {
    kind: "oidc",
    url: values["sasl.oauthbearer.token_endpoint_url"]!,
    clientId: values["sasl.oauthbearer.client_id"]!,
    clientSecret: values["sasl.oauthbearer.client_secret"]!,
    scope: values["sasl.oauthbearer.scope"],
    audience: values["sasl.oauthbearer.audience"],
    ca: values["sasl.oauthbearer.ca_file"],
  };
}

export function buildTls(values: SecurityValues): TlsConfig | null {
  if (!values["tls.enabled"]) return null;
  return {
    ca: values["tls.ca_file"],
    crt: values["tls.crt_file"],
    key: values["tls.key_file"],
    keyPass: values["tls.key_pass"],
    verifyHostname: values["tls.verify_hostname"],
    serverName: values["tls.server_name"],
  };
}
