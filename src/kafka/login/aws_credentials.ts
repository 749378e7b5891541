import { execFile } from "node:child_process";
import type { AwsSasl } from "../../config/config_security.ts";
import { awsError, containerCredentials, instanceCredentials, parseCredentials } from "./aws_metadata.ts";
import { type AwsProfile, readProfile } from "./aws_profile.ts";
import type { AwsCredentials } from "./aws_signature.ts";
import { assumeRole, type StsOptions, webIdentityCredentials } from "./aws_sts.ts";

const PROCESS_TIMEOUT_MS = 20_000;
const PROCESS_OUTPUT_BYTES_MAX = 1024 * 1024;
/** Profiles that name each other. */
const PROFILES_MAX = 5;

/**
 * AWS credentials, from the first place that has some: the environment, a web identity, the profile, the container, the instance. A profile
 * that is named in the configuration is the only place. A role is assumed with what was found.
 */
export class AwsCredentialChain {
  readonly #sasl: AwsSasl;
  readonly #sts: StsOptions;

  constructor(sasl: AwsSasl, now: () => number) {
    this.#sasl = sasl;
    this.#sts = { region: sasl.region, env: sasl.env, now };
  }

  /** Rejects with ConnectError "aws-credentials". */
  async find(): Promise<AwsCredentials> {
    const base = this.#sasl.profile === null
      ? await this.#findAny()
      : await this.#ofNamed(this.#sasl.profile);
    return this.#sasl.assumeRole === null
      ? base
      : await assumeRole(this.#sasl.assumeRole, base, null, this.#sts);
  }

  async #findAny(): Promise<AwsCredentials> {
    const { env } = this.#sasl;
    const { AWS_PROFILE: named } = env;
    const found = this.#ofEnvironment() ?? await webIdentityCredentials(this.#sts) ??
      (named === undefined ? await this.#ofDefault() : await this.#ofNamed(named)) ??
      await containerCredentials(env) ?? await instanceCredentials(env);
    if (found !== null) return found;
    throw awsError(
      "none in the environment, in ~/.aws, in the container's or in the instance's metadata",
      "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sasl.aws.profile, or give the host a role",
    );
  }

  #ofEnvironment(): AwsCredentials | null {
    const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = this.#sasl.env;
    if (id === undefined || secret === undefined) return null;
    return { accessKeyId: id, secretAccessKey: secret, sessionToken: token ?? null, expiresMs: null };
  }

  async #ofDefault(): Promise<AwsCredentials | null> {
    const profile = await readProfile("default", this.#sasl.env);
    return profile === null ? null : await this.#ofProfile("default", profile, 1);
  }

  async #ofNamed(name: string, depth = 1): Promise<AwsCredentials> {
    const profile = await readProfile(name, this.#sasl.env);
    if (profile === null) {
      throw awsError(
        `neither ~/.aws/config nor ~/.aws/credentials has a profile ${JSON.stringify(name)}`,
        "Correct sasl.aws.profile or AWS_PROFILE, or set HOME to the home of the user who has it",
      );
    }
    const found = await this.#ofProfile(name, profile, depth);
    if (found !== null) return found;
    const needs =
      "aws_access_key_id and aws_secret_access_key, a credential_process, or a role_arn with a source_profile";
    const isSso = profile.has("sso_session") || profile.has("sso_start_url");
    throw awsError(
      `profile ${JSON.stringify(name)} has ${
        isSso ? "a login by SSO, which shipper does not do" : "no credentials"
      }`,
      `Give it ${needs}`,
    );
  }

  async #ofProfile(name: string, profile: AwsProfile, depth: number): Promise<AwsCredentials | null> {
    const role = profile.get("role_arn");
    const source = profile.get("source_profile");
    if (role !== undefined && source !== undefined) {
      if (depth >= PROFILES_MAX) {
        throw awsError(
          `profile ${JSON.stringify(name)} is one of a ring`,
          "Correct source_profile in ~/.aws/config",
        );
      }
      const base = source === name ? this.#ofKeys(profile) : await this.#ofNamed(source, depth + 1);
      const externalId = profile.get("external_id") ?? null;
      if (base !== null) return await assumeRole(role, base, externalId, this.#sts);
    }
    const command = profile.get("credential_process");
    if (command !== undefined) return await runCredentialProcess(command, name);
    return this.#ofKeys(profile);
  }

  #ofKeys(profile: AwsProfile): AwsCredentials | null {
    const id = profile.get("aws_access_key_id");
    const secret = profile.get("aws_secret_access_key");
    if (id === undefined || secret === undefined) return null;
    const sessionToken = profile.get("aws_session_token") ?? null;
    return { accessKeyId: id, secretAccessKey: secret, sessionToken, expiresMs: null };
  }
}

/** What it prints is never shown: it is the secret. */
function runCredentialProcess(command: string, profile: string): Promise<AwsCredentials> {
  const who = `the credential_process of profile ${JSON.stringify(profile)}`;
  const limits = { timeout: PROCESS_TIMEOUT_MS, maxBuffer: PROCESS_OUTPUT_BYTES_MAX };
  return new Promise((resolve, reject) => {
    execFile("/bin/sh", ["-c", command], limits, (error, stdout) => {
      if (error !== null) {
        const how = error.killed === true
          ? `did not end within ${PROCESS_TIMEOUT_MS} ms`
          : `ended with ${error.code ?? error.signal}`;
        reject(
          awsError(`${who} ${how}`, "Run it by hand, as the user that runs shipper"),
        );
        return;
      }
      try {
        resolve(parseCredentials(stdout, who));
      } catch (failure) {
        reject(failure as Error);
      }
    });
  });
}
