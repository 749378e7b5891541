import { backoffMs } from "./backoff.ts";
import type { Cluster } from "./cluster.ts";
import { KafkaError, RequestError } from "./errors.ts";
import { isRefusedRight, missingRightHint, missingRightText } from "./missing_right.ts";
import type { ProducerIdentity } from "./partition_sender.ts";
import { ApiKey } from "./protocol/api_keys.ts";
import { errorInfo } from "./protocol/error_codes.ts";
import { DESCRIBE_PRODUCERS_VERSION } from "./protocol/describe_producers.ts";

export interface IdentityOptions {
  readonly cluster: Cluster;
  readonly retryIntervalMs: number;
  readonly retryMaxIntervalMs: number;
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly problem: (message: string, hint: string | null) => void;
  /** `canResolve`: the brokers can say what became of a batch (Kafka 2.8 and later). */
  readonly onIdentity: (identity: ProducerIdentity, canResolve: boolean) => void;
}

/** Keeps a producer id, a fresh one for each process: two that share one lose records in silence (the broker compares numbers only). */
export class IdentityKeeper {
  readonly #options: IdentityOptions;
  #identity: ProducerIdentity | null = null;
  #clusterId: string | null = null;
  #isAsking = false;

  constructor(options: IdentityOptions) {
    this.#options = options;
  }

  /** Null while there is none: nothing can be sent. */
  get identity(): ProducerIdentity | null {
    return this.#identity;
  }

  /** Asks until there is one. */
  obtain(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#identity = null;
    this.#ask().catch((error: unknown) => this.#options.problem(`Cannot go on: ${error}`, null))
      .finally(() => this.#isAsking = false);
  }

  /** Metadata brought something new. The id of one cluster means somebody else in another, which may be behind the same address now. */
  checkCluster(): void {
    const { clusterId } = this.#options.cluster;
    if (this.#identity === null || clusterId === null) return;
    this.#clusterId ??= clusterId;
    if (clusterId !== this.#clusterId) this.obtain();
  }

  /** The epochs of this one are used up. */
  renew(spent: ProducerIdentity | null): void {
    if (this.#identity === spent) this.obtain();
  }

  #tell(error: Error): void {
    const { cluster: { options }, problem } = this.#options;
    const errorCode = error instanceof RequestError ? error.errorCode : null;
    if (errorCode === null || !isRefusedRight(errorCode)) {
      const hint = error instanceof KafkaError ? error.hint : null;
      return problem(`Cannot get a producer id: ${error.message}`, hint);
    }
    // From Kafka 2.8 on, WRITE on any topic will do (KIP-679).
    const resource = { kind: "cluster" as const };
    problem(
      `Cannot get a producer id: ${
        missingRightText(options, resource, ["IDEMPOTENT_WRITE"])
      } and WRITE on every topic (${errorInfo(errorCode).name}); ` +
        `events wait, and it is tried again`,
      `give WRITE on the sink's topic, or, before Kafka 2.8: ${
        missingRightHint(options, resource, ["IDEMPOTENT_WRITE"])
      }`,
    );
  }

  async #ask(): Promise<void> {
    const { cluster, signal, random, retryIntervalMs, retryMaxIntervalMs } = this.#options;
    for (let failureCount = 1; !signal.aborted; failureCount++) {
      try {
        // The journal says where an id came from.
        if (cluster.clusterId === null) await cluster.refresh([], "the id of the cluster is not known");
        const { id, epoch } = await cluster.initProducerId(signal);
        const identity = { producerIdHigh: id.readInt32BE(0), producerIdLow: id.readInt32BE(4), epoch };
        const canResolve = await cluster.ask((connection) =>
          Promise.resolve(
            connection.highestVersion(
              ApiKey.DescribeProducers,
              DESCRIBE_PRODUCERS_VERSION,
              DESCRIBE_PRODUCERS_VERSION,
            ) !== null,
          )
        );
        if (signal.aborted) return;
        this.#identity = identity;
        this.#clusterId = cluster.clusterId;
        this.#options.onIdentity(identity, canResolve);
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#tell(error as Error);
        await Bun.sleep(backoffMs(failureCount, retryIntervalMs, retryMaxIntervalMs, random()));
      }
    }
  }
}
