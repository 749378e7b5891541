import type { AwsSasl } from "../../config/config_security.ts";
import { withDeadline } from "../deadline.ts";
import { ConnectError, KafkaError } from "../errors.ts";
import { AwsCredentialChain } from "./aws_credentials.ts";
import { type AwsCredentials, presign, sha256 } from "./aws_signature.ts";
import type { LoginMessage, LoginOptions, TokenLogin } from "./login.ts";

/** Everything that is asked for one login. */
const PREPARE_TIMEOUT_MS = 30_000;
const SIGNATURE_SECONDS = 900;
/** Credentials that end are replaced this much earlier. */
const EXPIRY_MARGIN_MS = 5 * 60_000;
const EMPTY_HASH = sha256("");

/** AWS_MSK_IAM, version 2020_10_22, as github.com/aws/aws-msk-iam-auth describes it: a presigned kafka-cluster:Connect as JSON. */
export class AwsLogin implements TokenLogin {
  readonly mechanism = "AWS_MSK_IAM";
  readonly #sasl: AwsSasl;
  readonly #options: LoginOptions;
  readonly #chain: AwsCredentialChain;
  #credentials: AwsCredentials | null = null;
  #fetching: Promise<AwsCredentials> | null = null;

  constructor(sasl: AwsSasl, options: LoginOptions) {
    this.#sasl = sasl;
    this.#options = options;
    this.#chain = new AwsCredentialChain(sasl, options.now);
  }

  async prepare(host: string, signal?: AbortSignal): Promise<LoginMessage> {
    const credentials = await this.#current(signal);
    return { bytes: mskMessage(host, this.#sasl.region, credentials, this.#options.now()), note: null };
  }

  reply(): Buffer | null {
    return null;
  }

  async #current(signal: AbortSignal | undefined): Promise<AwsCredentials> {
    const known = this.#credentials;
    const nowMs = this.#options.now();
    const endMs = known?.expiresMs ?? null;
    if (known !== null && endMs !== null && nowMs < endMs - EXPIRY_MARGIN_MS) return known;
    // Those without an end are asked for each time: a file may have been changed.
    this.#fetching ??= this.#chain.find().finally(() => this.#fetching = null);
    try {
      this.#credentials = await withDeadline(this.#fetching, PREPARE_TIMEOUT_MS, signal);
      return this.#credentials;
    } catch (error) {
      if (!(error instanceof KafkaError) || error.code === "aborted") throw error;
      if (known === null || endMs === null || nowMs >= endMs) throw timedOut(error);
      this.#options.log.warn(`${error.message}; the credentials before are used until they end`, {
        hint: error.hint,
      });
      return known;
    }
  }
}

function timedOut(error: KafkaError): KafkaError {
  if (error.code !== "timeout") return error;
  const message = `Cannot find AWS credentials within ${PREPARE_TIMEOUT_MS} ms`;
  return new ConnectError("aws-credentials", message, {
    hint: "Look whether the metadata service or the credential_process hangs",
    cause: error,
  });
}

/** The first and only message of a client. */
export function mskMessage(
  host: string,
  region: string,
  credentials: AwsCredentials,
  nowMs: number,
): Buffer {
  const query = presign(
    { method: "GET", host, path: "/", service: "kafka-cluster", region, nowMs },
    { Action: "kafka-cluster:Connect" },
    credentials,
    { expiresSeconds: SIGNATURE_SECONDS, payloadHash: EMPTY_HASH },
  );
  const message: Record<string, string> = { "version": "2020_10_22", host, "user-agent": "shipper" };
  for (const [name, value] of Object.entries(query)) message[name.toLowerCase()] = value;
  return Buffer.from(JSON.stringify(message));
}
