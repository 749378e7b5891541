import type { Log } from "../telemetry/log.ts";
import type { Cluster } from "./cluster.ts";
import { ApiKey } from "./protocol/api_keys.ts";
import { ErrorCode } from "./protocol/error_codes.ts";
import {
  decodeListOffsetsResponse,
  encodeListOffsets,
  LATEST_TIMESTAMP,
  LIST_OFFSETS_VERSION_MAX,
  LIST_OFFSETS_VERSION_MIN,
} from "./protocol/list_offsets.ts";
import { askBroker } from "./resolve/ask_broker.ts";

/** A first batch waits no longer for it: without, a search in a log that has lost its start may prove nothing. */
const WAIT_MAX_MS = 500;
/** Topics that are remembered. */
const TOPICS_MAX = 10_000;

interface TopicEnds {
  readonly topicId: string | null;
  readonly offsets: Map<number, number>;
  isPending: boolean;
}

/**
 * Where the logs of a topic's partitions end before the first batch of this run is sent there: an intent says it, so that what becomes of the
 * batch can be looked for from there. One request for each broker and topic. Needs the right to DESCRIBE or WRITE only.
 */
export class LogEnds {
  readonly #cluster: Cluster;
  readonly #log: Log;
  readonly #onKnown: () => void;
  readonly #topics = new Map<string, TopicEnds>();

  constructor(cluster: Cluster, log: Log, onKnown: () => void) {
    this.#cluster = cluster;
    this.#log = log;
    this.#onKnown = onKnown;
  }

  /** The topic has become known, or is another one of the same name: asks for the ends. Cheap when they are known. */
  want(topic: string): void {
    const metadata = this.#cluster.topic(topic);
    if (metadata === undefined || metadata.errorCode !== ErrorCode.NONE) return;
    const known = this.#topics.get(topic);
    if (known !== undefined && known.topicId === metadata.topicId) return;
    if (this.#topics.size >= TOPICS_MAX) this.#topics.clear();
    const ends: TopicEnds = { topicId: metadata.topicId, offsets: new Map(), isPending: true };
    this.#topics.set(topic, ends);
    const partitions = new Map<number, number[]>();
    for (const { id, leader } of metadata.partitions) {
      if (leader < 0) continue;
      const list = partitions.get(leader);
      if (list === undefined) partitions.set(leader, [id]);
      else list.push(id);
    }
    const asked = [...partitions].map(([leader, ids]) => this.#ask(topic, leader, ids, ends.offsets));
    const timeout = setTimeout(() => this.#known(ends), WAIT_MAX_MS);
    Promise.all(asked).finally(() => {
      clearTimeout(timeout);
      this.#known(ends);
    });
  }

  /** Whether to wait with the first intent of a partition. */
  isPending(topic: string): boolean {
    return this.#topics.get(topic)?.isPending ?? false;
  }

  /** Of the topic with this id, not of another one of its name. -1: not known. */
  endOf(topic: string, topicId: string | null, partition: number): number {
    const ends = this.#topics.get(topic);
    return ends?.topicId === topicId ? ends.offsets.get(partition) ?? -1 : -1;
  }

  #known(ends: TopicEnds): void {
    if (!ends.isPending) return;
    ends.isPending = false;
    this.#onKnown();
  }

  async #ask(
    topic: string,
    leader: number,
    ids: readonly number[],
    offsets: Map<number, number>,
  ): Promise<void> {
    try {
      const connection = await this.#cluster.connectionTo(leader);
      const apiVersion = connection.versionFor(
        ApiKey.ListOffsets,
        LIST_OFFSETS_VERSION_MIN,
        LIST_OFFSETS_VERSION_MAX,
      );
      const partitions = ids.map((partition) => ({ partition, timestampMs: LATEST_TIMESTAMP }));
      const answer = await askBroker(connection, {
        apiKey: ApiKey.ListOffsets,
        apiVersion,
        body: encodeListOffsets([{ name: topic, partitions }], "read_uncommitted", apiVersion),
        decode: (payload) => decodeListOffsetsResponse(payload, apiVersion),
      }, this.#cluster.options.requestTimeoutMs);
      for (const { partition, errorCode, offset } of answer.offsets) {
        if (errorCode === ErrorCode.NONE && offset >= 0) offsets.set(partition, offset);
      }
    } catch (error) {
      this.#log.debug(`Cannot ask where the logs of topic "${topic}" end: ${(error as Error).message}`);
    }
  }
}
