import { pause } from "../pause.ts";
import type { Log } from "../telemetry/log.ts";
import { backoffMs } from "./backoff.ts";
import type { Cluster } from "./cluster.ts";
import { KafkaError } from "./errors.ts";
import {
  isRefusedRight,
  missingRightHint,
  missingRightText,
  type Operation,
  type RightResource,
} from "./missing_right.ts";
import { ErrorCode, errorInfo } from "./protocol/error_codes.ts";

/** A topic that nobody knows is asked for this often at least, so that creating it helps soon. */
export const TOPIC_ASK_MAX_MS = 2_000;

export interface TopicDirectoryOptions {
  readonly cluster: Cluster;
  readonly retryIntervalMs: number;
  readonly retryMaxIntervalMs: number;
  readonly autocreate: { readonly partitions: number; readonly replicationFactor: number } | null;
  readonly log: Log;
  readonly random: () => number;
  /** The topic's partitions are known (again), also when nothing changed. */
  readonly onKnown: (topic: string, partitionCount: number) => void;
  /** The cluster says (again) that there is no such topic, and it was not created. False: nothing waits for it any more. */
  readonly onMissing: (topic: string) => boolean;
  /** Why a topic can't be used now, in words with a hint. */
  readonly onProblem: (code: string, message: string, hint: string | null) => void;
}

/** Keeps asking the cluster about topics that something waits for, until they are usable; creates them when that is asked for. */
export class TopicDirectory {
  readonly #options: TopicDirectoryOptions;
  readonly #wanted = new Set<string>();
  readonly #abort = new AbortController();
  #isRunning = false;
  #roundCount = 0;

  constructor(options: TopicDirectoryOptions) {
    this.#options = options;
  }

  /** Asks for fresh metadata of a topic, now or as soon as the round that is under way is done. Cheap to call again. */
  want(topic: string): void {
    if (this.#abort.signal.aborted) return;
    this.#wanted.add(topic);
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#run().catch((error: unknown) =>
      this.#options.log.error(`Cannot go on asking for topics: ${error}`)
    );
  }

  /** Asks no more for a topic. */
  forget(topic: string): void {
    this.#wanted.delete(topic);
  }

  close(): void {
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    this.#roundCount = 0;
    while (this.#wanted.size > 0 && !this.#abort.signal.aborted) {
      this.#roundCount++;
      await this.#ask([...this.#wanted]);
      if (this.#wanted.size > 0) await this.#pause();
    }
    this.#isRunning = false;
  }

  async #ask(topics: string[]): Promise<void> {
    const { cluster } = this.#options;
    try {
      await cluster.refresh(topics, "a partition waits");
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      if (error instanceof KafkaError) this.#options.onProblem(error.code, error.message, error.hint);
      else this.#options.onProblem("metadata", `Cannot ask for metadata: ${error}`, null);
      return;
    }
    const missing: string[] = [];
    for (const topic of topics) if (this.#take(topic) === "missing") missing.push(topic);
    if (missing.length > 0 && this.#options.autocreate !== null) await this.#create(missing);
  }

  /** Looks at what the cluster says of a topic; done with it when it is usable. */
  #take(topic: string): "usable" | "missing" | "waiting" {
    const metadata = this.#options.cluster.topic(topic);
    if (metadata === undefined) return "waiting";
    const { errorCode, partitions } = metadata;
    if (
      partitions.length > 0 && (errorCode === ErrorCode.NONE || errorCode === ErrorCode.LEADER_NOT_AVAILABLE)
    ) {
      this.#options.onKnown(topic, partitions.length);
      if (!partitions.some((partition) => partition.leader < 0)) {
        this.#wanted.delete(topic);
        return "usable";
      }
      this.#options.onProblem(
        "leader-unknown",
        `Cannot send to a partition of topic "${topic}": it has no leader`,
        null,
      );
      return "waiting";
    }
    if (errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
      if (this.#options.autocreate !== null) return "missing";
      if (this.#options.onMissing(topic)) {
        this.#options.onProblem(
          "topic-unknown",
          `Cannot send to topic "${topic}": the cluster does not know it; its events wait`,
          "create the topic, or set topics_autocreate = true",
        );
      }
      return "missing";
    }
    const info = errorInfo(errorCode);
    const right = errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED
      ? this.#missingRight({ kind: "topic", name: topic }, ["WRITE", "DESCRIBE"])
      : null;
    const why = right === null
      ? `the cluster answers ${info.name}`
      : `${right.text} (${info.name}); its events wait`;
    this.#options.onProblem(info.name, `Cannot send to topic "${topic}": ${why}`, right?.hint ?? info.hint);
    return "waiting";
  }

  async #create(topics: string[]): Promise<void> {
    const { cluster, autocreate, log } = this.#options;
    const { partitions, replicationFactor } = autocreate!;
    try {
      const answers = await cluster.createTopics(
        topics.map((name) => ({ name, partitions, replicationFactor })),
        this.#abort.signal,
      );
      for (const { name, errorCode, errorMessage } of answers) {
        if (errorCode === ErrorCode.NONE) log.info(`Created topic "${name}"`);
        else if (errorCode !== ErrorCode.TOPIC_ALREADY_EXISTS) {
          const info = errorInfo(errorCode);
          const said = errorMessage === null ? "" : ` (${errorMessage})`;
          const right = isRefusedRight(errorCode)
            ? this.#missingRight({ kind: "topic", name }, ["CREATE"])
            : null;
          const why = right === null ? `${info.name}${said}` : `${right.text} (${info.name})`;
          this.#options.onProblem(
            info.name,
            `Cannot create topic "${name}": ${why}`,
            right?.hint ?? info.hint,
          );
          this.#options.onMissing(name);
        }
      }
      // The new topic is known a moment later: the next round asks soon.
      this.#roundCount = 0;
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const hint = error instanceof KafkaError ? error.hint : null;
      const message = error instanceof Error ? error.message : String(error);
      this.#options.onProblem("topic-not-created", `Cannot create topic "${topics[0]}": ${message}`, hint);
    }
  }

  #missingRight(resource: RightResource, operations: readonly Operation[]): { text: string; hint: string } {
    const { options } = this.#options.cluster;
    return {
      text: missingRightText(options, resource, operations),
      hint: missingRightHint(options, resource, operations),
    };
  }

  #pause(): Promise<void> {
    const { retryIntervalMs, retryMaxIntervalMs, random } = this.#options;
    const maxMs = Math.min(retryMaxIntervalMs, TOPIC_ASK_MAX_MS);
    const pauseMs = backoffMs(this.#roundCount, retryIntervalMs, maxMs, random());
    return pause(pauseMs, this.#abort.signal);
  }
}
