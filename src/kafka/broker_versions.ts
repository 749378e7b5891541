import { KafkaError, RequestError } from "./errors.ts";
import { ApiKey, apiName } from "./protocol/api_keys.ts";
import {
  API_VERSIONS_VERSION_MAX,
  type ApiVersionRange,
  decodeApiVersionsResponse,
  encodeApiVersions,
} from "./protocol/api_versions.ts";
import { ErrorCode, errorInfo } from "./protocol/error_codes.ts";

/** Which versions of which APIs a broker speaks. */
export class BrokerVersions {
  readonly #broker: string;
  readonly #apis: ReadonlyMap<number, ApiVersionRange>;
  readonly #features: ReadonlyMap<string, number>;

  constructor(
    broker: string,
    apis: ReadonlyMap<number, ApiVersionRange>,
    features: ReadonlyMap<string, number> = new Map(),
  ) {
    this.#broker = broker;
    this.#apis = apis;
    this.#features = features;
  }

  /** Asks in the newest form; a broker that does not know it says so in the oldest, and is asked in that (KIP-511). */
  static async ask(
    broker: string,
    send: (apiKey: number, apiVersion: number, body: readonly Buffer[]) => Promise<Buffer>,
  ): Promise<BrokerVersions> {
    for (const version of [API_VERSIONS_VERSION_MAX, 0]) {
      const answer = await send(ApiKey.ApiVersions, version, encodeApiVersions("shipper", "1", version));
      const { errorCode, apis, features } = decodeApiVersionsResponse(answer, version);
      if (errorCode === ErrorCode.NONE) return new BrokerVersions(broker, apis, features);
      if (errorCode === ErrorCode.UNSUPPORTED_VERSION && version > 0) continue;
      throw new KafkaError(
        "versions-refused",
        `it answered ${errorInfo(errorCode).name} to the first request`,
      );
    }
    throw new KafkaError("versions-refused", "it knows no version of ApiVersions");
  }

  /** Level of a feature that the cluster has agreed on (KIP-584); 0: none. */
  featureLevel(name: string): number {
    return this.#features.get(name) ?? 0;
  }

  /** Highest version that both sides know; null when there is none. */
  highest(apiKey: number, min: number, max: number): number | null {
    const known = this.#apis.get(apiKey);
    if (known === undefined) return null;
    const highest = Math.min(max, known.max);
    return highest >= Math.max(min, known.min) ? highest : null;
  }

  /** The same, throwing RequestError "unsupported-version". */
  versionFor(apiKey: number, min: number, max: number): number {
    const version = this.highest(apiKey, min, max);
    if (version !== null) return version;
    const known = this.#apis.get(apiKey);
    const state = known === undefined
      ? "it does not know it"
      : `it knows versions ${known.min} to ${known.max}`;
    const spoken = min === max ? `version ${min} is` : `versions ${min} to ${max} are`;
    throw new RequestError(
      "unsupported-version",
      `Cannot send ${apiName(apiKey)} to broker "${this.#broker}": ${state}, ${spoken} spoken here`,
      { broker: this.#broker, hint: "Kafka 1.0 or later is needed" },
    );
  }

  /** The same in the form of kafkajs. */
  forKafkaJs(): Record<number, { minVersion: number; maxVersion: number }> {
    const versions: Record<number, { minVersion: number; maxVersion: number }> = {};
    for (const [key, { min, max }] of this.#apis) versions[key] = { minVersion: min, maxVersion: max };
    return versions;
  }
}
