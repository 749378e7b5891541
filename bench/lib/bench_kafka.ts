import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../../scripts/lib/ports.ts";
import { type OwnCluster, ownCluster } from "../../tests/support/kafka.ts";
import { waitUntil } from "../../tests/support/wait_until.ts";
import { cpuSeconds } from "./proc.ts";

const HEAP_MB = 1_024;
/** The room of a deleted topic is wanted back before the next run, not a minute later. */
const SETTINGS = { "log.segment.delete.delay.ms": "500" };
const REMOVE_TIMEOUT_MS = 30_000;

/** One broker on loopback for a whole run of the benchmarks. It dies with this process. */
export class BenchKafka {
  readonly #own: OwnCluster;

  private constructor(own: OwnCluster) {
    this.#own = own;
  }

  static async start(progress: (message: string) => void): Promise<BenchKafka> {
    const advertisedPorts = await freePorts(1);
    return new BenchKafka(
      await ownCluster({ heapMb: HEAP_MB, settings: SETTINGS, advertisedPorts, progress }),
    );
  }

  get bootstrap(): string {
    return this.#own.kafka.bootstrap;
  }

  /** Where a proxy is to listen, and where it leads to; a client that bootstraps there stays behind it. */
  get proxied(): { readonly listenPort: number; readonly targetPort: number } {
    return this.#own.kafka.proxied!;
  }

  /** CPU that the broker has used so far. */
  cpuSeconds(): number {
    return cpuSeconds(this.#own.cluster.brokers[0]!.pid!);
  }

  /** Ends the broker in order, as an operator would, and starts it again, on its port and data, when `action` has come to its end. */
  async whileAway<T>(action: () => Promise<T>): Promise<T> {
    await this.#own.cluster.brokers[0]!.stop();
    try {
      return await action();
    } finally {
      await this.#own.cluster.startBroker(0);
    }
  }

  createTopic(partitions: number): Promise<string> {
    return this.#own.kafka.createTopic({ partitions });
  }

  countRecords(topic: string): Promise<number> {
    return this.#own.kafka.countRecords(topic);
  }

  /** Has every record of the topic taken by `visit`, in order within each partition. */
  scanTopic(
    topic: string,
    visit: (partition: number, line: string) => void,
    timeoutMs: number,
  ): Promise<number> {
    return this.#own.kafka.scanTopic(
      topic,
      ({ partition, value }) => visit(partition, String(value)),
      { timeoutMs },
    );
  }

  /** Bytes of the topic's record batches, as the broker stored them. */
  topicBytes(topic: string): number {
    return this.#segments(topic).reduce((sum, path) => sum + statSync(path).size, 0);
  }

  /** Deletes topics and waits until their files are gone. */
  async deleteTopics(topics: readonly string[]): Promise<void> {
    for (const topic of topics) await this.#own.kafka.deleteTopic(topic);
    const areGone = () =>
      !readdirSync(this.#dataDir).some((dir) => topics.some((topic) => dir.startsWith(`${topic}-`)));
    await waitUntil("the topics' files are gone", areGone, { timeoutMs: REMOVE_TIMEOUT_MS, pollMs: 100 });
  }

  stop(): Promise<void> {
    return this.#own.stop();
  }

  get #dataDir(): string {
    return join(this.#own.cluster.brokers[0]!.dir, "data");
  }

  #segments(topic: string): string[] {
    const partitions = readdirSync(this.#dataDir).filter((dir) =>
      dir.startsWith(`${topic}-`) && /^\d+$/.test(dir.slice(topic.length + 1))
    );
    if (partitions.length === 0) throw new Error(`Cannot find the partitions of topic "${topic}" on disk`);
    return partitions.flatMap((dir) =>
      readdirSync(join(this.#dataDir, dir)).filter((name) => name.endsWith(".log")).map((name) =>
        join(this.#dataDir, dir, name)
      )
    );
  }
}
