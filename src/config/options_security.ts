import { choice, flag, text } from "./option.ts";
import {
  checkAwsRegion,
  checkExtensions,
  checkHttpUrl,
  checkRoleArn,
  checkToken,
} from "./security_checks.ts";
import { checkNotEmpty, checkPath } from "./string_checks.ts";

/** How connections of a Kafka sink are encrypted and log in. */

/** Mechanisms without sasl.username and sasl.password. */
const OTHER_LOGINS = { option: "sasl.mechanism", values: ["OAUTHBEARER", "AWS_MSK_IAM"] };

const tlsOptions = {
  "tls.enabled": flag({
    default: false,
    doc: "Encrypt connections to the brokers. The other `tls` options have no effect without it.",
    example: "true",
  }),
  "tls.ca_file": text({
    default: null,
    defaultText: "the system's certificate authorities",
    check: checkPath,
    doc:
      "The certificate authorities to trust, one or more: the path of a PEM or DER file, or the PEM text itself.",
    example: '"/etc/shipper/ca.pem"',
  }),
  "tls.crt_file": text({
    default: null,
    defaultText: "none",
    check: checkPath,
    doc:
      "The client's certificate, with its chain: the path of a PEM or DER file, or the PEM text; both need `tls.key_file`. " +
      "A PKCS#12 file (`.p12`, `.pfx`) holds the key as well.",
    example: '"/etc/shipper/client.pem"',
  }),
  "tls.key_file": text({
    default: null,
    defaultText: "none",
    check: checkPath,
    doc:
      "The key of the client's certificate: the path of a PEM or DER file, or the PEM text. Needs `tls.crt_file`.",
    example: '"/etc/shipper/client.key"',
  }),
  "tls.key_pass": text({
    default: null,
    defaultText: "none",
    secret: true,
    doc:
      "The pass phrase of an encrypted key, or of a PKCS#12 file. Has no effect without `tls.key_file` or such a file.",
    example: '"${KEY_PASS}"',
  }),
  "tls.verify_hostname": flag({
    default: true,
    doc: "Require the broker's certificate to be made out to the name that it is reached by.",
    example: "false",
  }),
  "tls.server_name": text({
    default: null,
    defaultText: "the broker's host name",
    check: checkNotEmpty,
    doc: "The name that the broker's certificate must have.",
    example: '"kafka.example.org"',
  }),
};

const passwordOptions = {
  "sasl.username": text({
    requiredWhen: "sasl.enabled",
    requiredUnless: OTHER_LOGINS,
    check: checkNotEmpty,
    doc: "The user.",
    example: '"shipper"',
  }),
  "sasl.password": text({
    requiredWhen: "sasl.enabled",
    requiredUnless: OTHER_LOGINS,
    secret: true,
    doc: "The password. Take it from the environment, so that it is not in the file.",
    example: '"${KAFKA_PASSWORD}"',
  }),
  "sasl.jaas_config": text({
    default: null,
    defaultText: "none",
    secret: true,
    doc:
      "`sasl.username` and `sasl.password` as Kafka's Java clients write them. `PlainLoginModule` is `sasl.mechanism = " +
      '"PLAIN"`; `ScramLoginModule` is either of the `SCRAM` ones. A variable may stand for the whole or for a value between quotes, ' +
      "where it needs no escaping.",
    example:
      `'org.apache.kafka.common.security.scram.ScramLoginModule required username="shipper" password="\${KAFKA_PASSWORD}";'`,
  }),
};

const oauthOptions = {
  "sasl.oauthbearer.token": text({
    default: null,
    defaultText: "none",
    secret: true,
    check: checkToken,
    doc: "The token, where it does not end, or ends with shipper. Under `OAUTHBEARER` exactly one of " +
      "`sasl.oauthbearer.token`, `token_file` and `token_endpoint_url` is set.",
    example: '"${KAFKA_TOKEN}"',
  }),
  "sasl.oauthbearer.token_file": text({
    default: null,
    defaultText: "none",
    check: checkPath,
    doc:
      "A file that holds the token alone. It is read again at each login, so that whoever renews it has nothing to tell.",
    example: '"/var/run/secrets/kafka/token"',
  }),
  "sasl.oauthbearer.token_endpoint_url": text({
    default: null,
    defaultText: "none",
    check: checkHttpUrl,
    doc:
      "Where tokens are fetched (OIDC, client credentials). A token is replaced after half of its life. Needs " +
      "`sasl.oauthbearer.client_id` and `client_secret`.",
    example: '"https://id.example.org/realms/main/protocol/openid-connect/token"',
  }),
  "sasl.oauthbearer.client_id": text({
    default: null,
    defaultText: "none",
    check: checkNotEmpty,
    doc: "The client that asks for tokens.",
    example: '"shipper"',
  }),
  "sasl.oauthbearer.client_secret": text({
    default: null,
    defaultText: "none",
    secret: true,
    check: checkNotEmpty,
    doc: "Its secret.",
    example: '"${CLIENT_SECRET}"',
  }),
  "sasl.oauthbearer.scope": text({
    default: null,
    defaultText: "none is asked for",
    check: checkNotEmpty,
    doc: "The scope to ask for; several are separated by spaces.",
    example: '"kafka.write"',
  }),
  "sasl.oauthbearer.audience": text({
    default: null,
    defaultText: "none is asked for",
    check: checkNotEmpty,
    doc: "The audience to ask for, where the provider wants one.",
    example: '"kafka"',
  }),
  "sasl.oauthbearer.ca_file": text({
    default: null,
    defaultText: "the system's certificate authorities",
    check: checkPath,
    doc: "The authorities to trust at `sasl.oauthbearer.token_endpoint_url`, as in `tls.ca_file`.",
    example: '"/etc/shipper/id-ca.pem"',
  }),
  "sasl.oauthbearer.extensions": text({
    default: null,
    defaultText: "none",
    check: checkExtensions,
    doc: "What is told to the broker beside the token (KIP-342): `name=value`, several separated by commas.",
    example: '"logicalCluster=lkc-1,identityPoolId=pool-2"',
  }),
};

const awsOptions = {
  "sasl.aws.region": text({
    default: null,
    defaultText: "what `AWS_REGION` says, else `AWS_DEFAULT_REGION`",
    check: checkAwsRegion,
    doc: "The region of the MSK cluster.",
    example: '"eu-central-1"',
  }),
  "sasl.aws.profile": text({
    default: null,
    defaultText: "the usual places, one after the other",
    check: checkNotEmpty,
    doc:
      "A profile of `~/.aws/config` and `~/.aws/credentials`; credentials are taken from nowhere else then.",
    example: '"logs"',
  }),
  "sasl.aws.assume_role": text({
    default: null,
    defaultText: "none",
    check: checkRoleArn,
    doc: "The role to take on with the credentials.",
    example: '"arn:aws:iam::111122223333:role/log-writer"',
  }),
};

/** All of them, in the order of the document. */
export const securityOptions = {
  security_protocol: choice({
    values: ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
    ignoreCase: true,
    default: null,
    defaultText: "what `tls.enabled` and `sasl.enabled` say",
    doc:
      "Kafka's one word for `tls.enabled` and `sasl.enabled`: both in one. Where these are set too, they must say the same.",
    example: '"SASL_SSL"',
  }),
  "sasl.enabled": flag({ default: false, doc: "Log in to the brokers.", example: "true" }),
  "sasl.mechanism": choice({
    values: ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"],
    ignoreCase: true,
    requiredWhen: "sasl.enabled",
    doc:
      "How to log in. `PLAIN` sends the password, and `OAUTHBEARER` the token, as it is: use them with TLS alone. " +
      "[security.md](security.md) has an example of each.",
    example: '"SCRAM-SHA-512"',
  }),
  ...passwordOptions,
  ...oauthOptions,
  ...awsOptions,
  ...tlsOptions,
};
