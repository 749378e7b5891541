import { randomBytes } from "node:crypto";
import {
  type Cluster,
  type ClusterOptions,
  readCluster,
  startCluster,
} from "../../scripts/lib/kafka_cluster.ts";
import type { Certificates } from "../../scripts/lib/kafka_certificates.ts";
import type { ListenerName } from "../../scripts/lib/kafka_properties.ts";
import { freePorts } from "../../scripts/lib/ports.ts";
import { kafkaReader } from "./kafka_reader.ts";
import { keepRecord, scanRecordFile, type TopicRecord } from "./record_file.ts";
import { tempDir } from "./temp_dir.ts";
import { waitUntil } from "./wait_until.ts";

export interface TopicOptions {
  /** Default: a name that nobody else uses. */
  readonly name?: string;
  readonly partitions?: number;
  readonly replication?: number;
  readonly configs?: Readonly<Record<string, string>>;
  /** Brokers of each partition, the leader first; instead of `partitions` and `replication`. */
  readonly assignment?: readonly (readonly number[])[];
}

export interface ReadOptions {
  readonly isolation?: "read_uncommitted" | "read_committed";
  /** Offset to start at, by partition; others start at their beginning. */
  readonly from?: Readonly<Record<number, number>>;
  readonly timeoutMs?: number;
}

export interface ProducedRecord {
  readonly partition?: number;
  readonly timestampMs?: number;
  readonly key?: string | Buffer | null;
  readonly value: string | Buffer | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ProduceOptions {
  /** Properties of the Java producer, for example "compression.type". */
  readonly properties?: Readonly<Record<string, string>>;
  readonly transaction?: "commit" | "abort";
}

export interface PartitionView {
  readonly partition: number;
  /** Broker id, -1 without a leader. */
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

export interface Acl {
  readonly user: string;
  readonly resource: "topic" | "group" | "cluster" | "transactional_id";
  /** "kafka-cluster" for the cluster. */
  readonly name: string;
  readonly operation: "write" | "read" | "describe" | "create" | "idempotent_write" | "all";
  /** `name` is what names begin with. */
  readonly isPrefixed?: boolean;
}

type Offsets = Readonly<Record<string, number>>;
const READ_TIMEOUT_MS = 60_000;

/** A cluster as tests see it: by the Java client, independent of shipper. Every method rejects with the client's error. */
export class TestKafka {
  readonly bootstrap: string;
  readonly listeners: Readonly<Partial<Record<ListenerName, string>>>;
  readonly certificates: Certificates | null;
  /** Where a proxy is to listen so that clients which bootstrap there stay behind it; null without a PROXIED listener. */
  readonly proxied: { readonly listenPort: number; readonly targetPort: number } | null;

  constructor(
    cluster: Pick<Cluster, "listeners" | "certificates"> & {
      readonly brokers: readonly {
        readonly ports: Partial<Record<ListenerName, number>>;
        readonly advertisedPort: number | null;
      }[];
    },
  ) {
    this.listeners = cluster.listeners;
    this.certificates = cluster.certificates;
    this.bootstrap = cluster.listeners.PLAINTEXT!;
    const { ports, advertisedPort } = cluster.brokers[0]!;
    this.proxied = advertisedPort === null
      ? null
      : { listenPort: advertisedPort, targetPort: ports.PROXIED! };
  }

  /** Creates a topic (one partition, one replica), waits for its leaders and returns its name. */
  async createTopic(options: TopicOptions = {}): Promise<string> {
    const topic = options.name ?? `test-${randomBytes(6).toString("hex")}`;
    await this.#ask("createTopic", {
      topic,
      partitions: options.partitions ?? 1,
      replication: options.replication ?? 1,
      configs: options.configs ?? {},
      assignment: options.assignment ?? null,
    });
    return topic;
  }

  deleteTopic(topic: string): Promise<void> {
    return this.#ask("deleteTopic", { topic });
  }

  /** Grows a topic to `total` partitions. */
  addPartitions(topic: string, total: number): Promise<void> {
    return this.#ask("addPartitions", { topic, total });
  }

  describeTopic(topic: string): Promise<PartitionView[]> {
    return this.#ask("describeTopic", { topic });
  }

  /** Whether a topic exists. Rejects when that cannot be found out. */
  async hasTopic(topic: string): Promise<boolean> {
    try {
      return (await this.describeTopic(topic)).length > 0;
    } catch (error) {
      if (String(error).includes("UnknownTopicOrPartition")) return false;
      throw error;
    }
  }

  /** Sets (or with null resets) configs of a topic, or of a broker by its id. */
  alterConfigs(
    resource: "topic" | "broker",
    name: string,
    configs: Readonly<Record<string, string | null>>,
  ): Promise<void> {
    return this.#ask("alterConfigs", { resource, name, configs });
  }

  /** Moves a partition to these brokers; the first one leads when this resolves. */
  reassign(topic: string, partition: number, replicas: readonly number[]): Promise<void> {
    return this.#ask("reassign", { topic, partition, replicas });
  }

  /** Gives every partition back to its preferred leader. */
  electLeaders(topic: string): Promise<void> {
    return this.#ask("electLeaders", { topic });
  }

  deleteRecords(topic: string, partition: number, beforeOffset: number): Promise<void> {
    return this.#ask("deleteRecords", { topic, partition, beforeOffset });
  }

  addAcl(acl: Acl): Promise<void> {
    return this.#ask("addAcl", { ...acl });
  }

  removeAcl(acl: Acl): Promise<void> {
    return this.#ask("removeAcl", { ...acl });
  }

  removeAcls(): Promise<void> {
    return this.#ask("removeAcls");
  }

  /** Changes what a user logs in with; null removes the user. */
  setScram(
    user: string,
    mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-512",
    password: string | null,
  ): Promise<void> {
    return this.#ask("setScram", { user, mechanism, password });
  }

  /** Sets (or with null removes) a quota of a client id, for example "producer_byte_rate". */
  setQuota(clientId: string, quota: string, value: number | null): Promise<void> {
    return this.#ask("setQuota", { clientId, quota, value });
  }

  describeProducers(
    topic: string,
    partition: number,
  ): Promise<{ producerId: number; producerEpoch: number; lastSequence: number; lastTimestamp: number }[]> {
    return this.#ask("describeProducers", { topic, partition });
  }

  /** First and end offset of every partition. */
  offsets(
    topic: string,
    isolation: ReadOptions["isolation"] = "read_uncommitted",
  ): Promise<{ begins: Offsets; ends: Offsets }> {
    return this.#ask("offsets", { topic, isolation });
  }

  /** Records between the first and the end offsets of all partitions. */
  async countRecords(topic: string): Promise<number> {
    const { begins, ends } = await this.offsets(topic);
    return Object.entries(ends).reduce((sum, [partition, end]) => sum + end - begins[partition]!, 0);
  }

  /** Waits until a topic holds at least `count` records, and gives all of them. */
  async waitForRecords(topic: string, count: number, options: ReadOptions = {}): Promise<TopicRecord[]> {
    const timeoutMs = options.timeoutMs ?? READ_TIMEOUT_MS;
    let seen = 0;
    const enough = async () => (seen = await this.countRecords(topic)) >= count;
    await waitUntil(`topic "${topic}" holds ${count} records`, enough, { timeoutMs, pollMs: 50 }).catch(
      (error: Error) => {
        throw new Error(`${error.message}; it holds ${seen}`);
      },
    );
    return await this.readTopic(topic, options);
  }

  /** Every record that a topic holds now, by partition in order of offsets. For large topics use `scanTopic`. */
  async readTopic(topic: string, options: ReadOptions = {}): Promise<TopicRecord[]> {
    const records: TopicRecord[] = [];
    await this.scanTopic(topic, (record) => records.push(keepRecord(record)), options);
    return records.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  }

  /**
   * Calls `visit` for every record that a topic holds now, in order within each partition. What it is given is valid during the call
   * (`keepRecord` copies it). Returns the count.
   */
  async scanTopic(
    topic: string,
    visit: (record: TopicRecord) => void,
    options: ReadOptions = {},
  ): Promise<number> {
    await using dir = tempDir("topic");
    const file = dir.file("records");
    const { count } = await this.#ask<{ count: number }>("read", {
      topic,
      file,
      isolation: options.isolation ?? "read_uncommitted",
      timeoutMs: options.timeoutMs ?? READ_TIMEOUT_MS,
      ...(options.from === undefined ? {} : { from: options.from }),
    });
    const scanned = scanRecordFile(file, visit);
    if (scanned !== count) {
      throw new Error(`Scanned ${scanned} records of topic "${topic}", the reader wrote ${count}`);
    }
    return count;
  }

  /** Writes records by the Java producer. */
  produce(topic: string, records: readonly ProducedRecord[], options: ProduceOptions = {}): Promise<void> {
    return this.#ask("produce", {
      topic,
      properties: options.properties ?? {},
      transaction: options.transaction ?? null,
      records: records.map(({ partition, timestampMs, key, value, headers }) => ({
        partition,
        timestampMs,
        key: base64(key ?? null),
        value: base64(value),
        headers: Object.entries(headers ?? {}).map(([name, text]) => [name, base64(text)]),
      })),
    });
  }

  /** To be called before the cluster ends: lets the reader drop its connections. */
  forget(): Promise<void> {
    return this.#ask("forget");
  }

  async #ask<T>(verb: string, fields: Readonly<Record<string, unknown>> = {}): Promise<T> {
    return (await kafkaReader()).ask<T>(verb, this.bootstrap, fields);
  }
}

function base64(bytes: string | Buffer | null): string | null {
  return bytes === null ? null : Buffer.from(bytes as Buffer).toString("base64");
}

/** A cluster that belongs to one test file: call `stop` in afterAll. */
export interface OwnCluster {
  readonly kafka: TestKafka;
  readonly cluster: Cluster;
  stop(): Promise<void>;
}

/** Starts a cluster of a test's own, which it may hurt. */
export async function ownCluster(options: ClusterOptions = {}): Promise<OwnCluster> {
  const cluster = await startCluster(options);
  const kafka = new TestKafka(cluster);
  const stop = async () => {
    await kafka.forget();
    await cluster.stop();
  };
  return { kafka, cluster, stop };
}

const holder = globalThis as { shipperTestKafka?: Promise<TestKafka> };

/**
 * One plaintext broker that all test files share, with a PROXIED listener: create topics in it, do not hurt it. scripts/test starts it and
 * names its folder in SHIPPER_TEST_CLUSTER; without that it is started here, and dies with this process. Call it in beforeAll with a timeout
 * of a minute or more.
 */
export function sharedCluster(): Promise<TestKafka> {
  // The reader is started meanwhile: the first test that uses it should not have to wait for Java.
  holder.shipperTestKafka ??= Promise.all([findOrStart(), kafkaReader()]).then(([kafka]) => kafka);
  return holder.shipperTestKafka;
}

async function findOrStart(): Promise<TestKafka> {
  const dir = process.env.SHIPPER_TEST_CLUSTER;
  if (dir !== undefined) {
    const state = readCluster(dir);
    if (state === null) throw new Error(`SHIPPER_TEST_CLUSTER names "${dir}", and there is no cluster`);
    return new TestKafka(state);
  }
  return new TestKafka(await startSharedCluster());
}

/** The cluster that `sharedCluster` finds. */
export async function startSharedCluster(progress?: (message: string) => void): Promise<Cluster> {
  const advertisedPorts = await freePorts(1);
  return await startCluster({ advertisedPorts, ...(progress === undefined ? {} : { progress }) });
}
