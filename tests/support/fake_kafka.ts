import type { Socket } from "node:net";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { WireReader, WireWriter } from "../../src/kafka/protocol/wire.ts";
import {
  apiVersionsBody,
  FAKE_API_VERSIONS,
  type FakeAnswer,
  FakeBroker,
  type FakeRequest,
  frameOf,
  metadataBody,
  metadataTopics,
} from "./fake_broker.ts";
import { FakeInspection } from "./fake_inspection.ts";
import { FakePartitionLog } from "./fake_partition.ts";
import { FakeTransactions } from "./fake_transactions.ts";
import { type PartitionAnswer, produceAnswer, readProduce, type SentBatch } from "./produce_wire.ts";
import { type ReadBatch, readBatchHeader, readRecords } from "./record_batches.ts";

/** One attempt to write a batch, as a broker sees it. */
export interface Attempt extends SentBatch {
  readonly nodeId: number;
  readonly header: ReadBatch;
  /** Its records, for a batch that is not compressed. */
  readonly values: readonly string[];
  /** Attempts on this partition before this one. */
  readonly index: number;
  readonly atMs: number;
}

/** What the leader says instead of appending. */
export interface Refusal {
  readonly errorCode: number;
  readonly recordErrors?: PartitionAnswer["recordErrors"];
  readonly message?: string;
  /** It is appended all the same: the broker does not know it yet (a timeout of its replicas). */
  readonly isAppended?: boolean;
}

/** What happens to a whole Produce request. */
export interface RequestFault {
  /**
   * "cut-before": nothing was read. "cut-after": appended, and the answer is lost. "cut-late": the same, but it is appended `delayMs` after the
   * connection was cut. "silence": no answer, nothing appended.
   */
  readonly kind?: "cut-before" | "cut-after" | "cut-late" | "silence" | "silence-after" | "garbage";
  readonly delayMs?: number;
  readonly throttleMs?: number;
  /** Partitions that the answer does not mention. */
  readonly leaveOut?: (partition: number) => boolean;
}

interface Open {
  readonly key: string;
  readonly socket: Socket;
}

/**
 * Brokers 1 to n on loopback ports that keep records as Kafka does, and go wrong as a test says. What no broker may ever see (two batches
 * of a partition in flight, sequences used twice) is in `violations`.
 */
export class FakeKafka implements AsyncDisposable {
  readonly brokers: FakeBroker[] = [];
  readonly topics = new Map<string, FakePartitionLog[]>();
  readonly attempts: Attempt[] = [];
  /** The batches of each Produce request, as "topic/partition". */
  readonly requests: {
    readonly nodeId: number;
    readonly acks: number;
    readonly partitions: readonly string[];
  }[] = [];
  readonly violations: string[] = [];
  /** Brokers that Metadata lists; all of them at first. */
  listed: number[] = [];
  /** Called for each batch; undefined: the log decides. */
  refuse: (attempt: Attempt) => Refusal | undefined = () => undefined;
  /** Called for each Produce request. */
  fault: (attempts: readonly Attempt[]) => RequestFault | undefined = () => undefined;
  /** Error codes of Metadata answers, by topic. */
  readonly topicErrors = new Map<string, number>();
  /** Answer of InitProducerId; 0: an id. */
  producerIdError = 0;
  /** `max.message.bytes` that DescribeConfigs tells; null: this user may not know. */
  maxMessageBytes: number | null = null;
  /** More of what it tells, of every topic. */
  readonly topicConfigs: Record<string, string> = {};
  createTopicError = 0;
  clusterId = "fake";
  /** Answers to questions about logs and producers, and how they go wrong. */
  readonly inspection: FakeInspection = new FakeInspection(this);
  readonly transactions: FakeTransactions = new FakeTransactions(this);
  readonly #open = new Set<Open>();
  readonly #topicIds = new Map<string, Buffer>();
  #nextProducerId = 7_000;
  firstEpoch = 0;

  static async start(brokerCount = 1, topics: Readonly<Record<string, number>> = {}): Promise<FakeKafka> {
    const kafka = new FakeKafka();
    for (let id = 1; id <= brokerCount; id++) {
      const broker = await FakeBroker.start();
      broker.on(ApiKey.Metadata, (request) => kafka.#metadata(request))
        .on(ApiKey.InitProducerId, (request) => kafka.#initProducerId(request))
        .on(ApiKey.DescribeConfigs, (request) => kafka.#describeConfigs(request))
        .on(ApiKey.CreateTopics, (request) => kafka.#createTopics(request))
        .on(ApiKey.Produce, (request) => kafka.#produce(id, request));
      broker.on(ApiKey.ApiVersions, ({ apiVersion }) => {
        const level = kafka.transactions.isVersion2 ? 2 : 0;
        return { body: apiVersionsBody(FAKE_API_VERSIONS, apiVersion, 0, { "transaction.version": level }) };
      });
      kafka.inspection.serve(id, broker);
      kafka.transactions.serve(broker);
      kafka.brokers.push(broker);
      kafka.listed.push(id);
    }
    for (const [name, partitions] of Object.entries(topics)) kafka.addTopic(name, partitions);
    return kafka;
  }

  get bootstrapServers(): string[] {
    return this.brokers.map((broker) => broker.address);
  }

  /** Leaders go round the brokers. */
  addTopic(name: string, partitions: number): void {
    const logs = this.topics.get(name) ?? [];
    while (logs.length < partitions) {
      logs.push(new FakePartitionLog(logs.length, logs.length % this.brokers.length + 1));
    }
    this.topics.set(name, logs);
  }

  /** Deletes a topic and makes it again under a new id, with the first broker as leader of all its partitions. */
  makeAgain(name: string, partitions: number): void {
    this.topics.set(name, Array.from({ length: partitions }, (_, id) => new FakePartitionLog(id, 1)));
    this.#topicIds.set(name, Buffer.alloc(16, `${name}${this.#topicIds.size + 1}`));
  }

  log(topic = "logs", partition = 0): FakePartitionLog {
    return this.topics.get(topic)![partition]!;
  }

  /** Every value of a topic that is committed or belongs to no transaction, partition after partition. */
  committedValues(topic = "logs"): string[] {
    return this.topics.get(topic)!.flatMap((log) => log.committedValues());
  }

  /** Every value of a topic, partition after partition. */
  values(topic = "logs"): string[] {
    return this.topics.get(topic)!.flatMap((log) => log.values);
  }

  /** Moves a partition to another broker, as an election does. */
  moveLeader(nodeId: number, topic = "logs", partition = 0): void {
    const log = this.log(topic, partition);
    log.leader = nodeId;
    log.leaderEpoch++;
  }

  /** As brokers that were restarted cleanly: of each producer they know the last batch. Connections to one of them are cut. */
  restart(nodeId: number): void {
    for (const log of [...this.topics.values()].flat()) log.forgetAllButTheLast();
    this.brokers[nodeId - 1]!.cutAll();
  }

  countOf(apiKey: number): number {
    return this.brokers.reduce((sum, broker) => sum + broker.countOf(apiKey), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.stop()));
  }

  #metadata(request: FakeRequest): FakeAnswer {
    const topics = metadataTopics(request).map((name) => {
      const logs = this.topics.get(name);
      const errorCode = this.topicErrors.get(name) ??
        (logs === undefined ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : 0);
      const partitions = (logs ?? []).map(({ id, leader, leaderEpoch }) => ({
        id,
        leader,
        leaderEpoch,
        errorCode: leader < 0 ? ErrorCode.LEADER_NOT_AVAILABLE : 0,
      }));
      return {
        name,
        errorCode,
        topicId: this.#topicIds.get(name) ?? Buffer.alloc(16, name),
        partitions: errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION ? [] : partitions,
      };
    });
    const brokers = this.listed.map((id) => ({ id, host: "127.0.0.1", port: this.brokers[id - 1]!.port }));
    return {
      body: metadataBody(
        { brokers, clusterId: this.clusterId, controllerId: this.listed[0] ?? -1, topics },
        request.apiVersion,
      ),
    };
  }

  #initProducerId(request: FakeRequest): FakeAnswer {
    const { apiVersion, body } = request;
    if (new WireReader(body, apiVersion >= 2).nullableString() !== null) {
      return this.transactions.init(request);
    }
    const writer = new WireWriter(apiVersion >= 2);
    writer.int32(0).int16(this.producerIdError);
    writer.int64(this.producerIdError === 0 ? this.#nextProducerId++ : -1).int16(this.firstEpoch);
    return { body: Buffer.from(writer.tags().slice()) };
  }

  #describeConfigs({ apiVersion, body }: FakeRequest): FakeAnswer {
    const reader = new WireReader(body, apiVersion >= 4);
    const count = reader.arrayLength(1);
    if (reader.int8() === 4) return this.inspection.describeBroker(reader.string(), apiVersion);
    const topics = [reader.string()];
    readKeys(reader);
    for (let i = 1; i < count; i++) {
      reader.int8();
      topics.push(reader.string());
      readKeys(reader);
    }
    const configs = { ...this.topicConfigs };
    if (this.maxMessageBytes !== null) configs["max.message.bytes"] = String(this.maxMessageBytes);
    const isTold = Object.keys(configs).length > 0;
    const writer = new WireWriter(apiVersion >= 4).int32(0).arrayLength(topics.length);
    for (const topic of topics) {
      writer.int16(isTold ? 0 : ErrorCode.TOPIC_AUTHORIZATION_FAILED).string(null);
      writer.int8(2).string(topic).arrayLength(Object.keys(configs).length);
      for (const [key, value] of Object.entries(configs)) {
        writer.string(key).string(value).boolean(false).int8(1).boolean(false).arrayLength(0);
        if (apiVersion >= 3) writer.int8(3).string(null);
        writer.tags();
      }
      writer.tags();
    }
    return { body: Buffer.from(writer.tags().slice()) };
  }

  #createTopics({ apiVersion, body }: FakeRequest): FakeAnswer {
    const reader = new WireReader(body, apiVersion >= 5);
    const writer = new WireWriter(apiVersion >= 5);
    const count = reader.arrayLength(1);
    writer.int32(0).arrayLength(count);
    for (let i = 0; i < count; i++) {
      const name = reader.string();
      const partitions = reader.int32();
      reader.int16();
      reader.arrayLength(0);
      const configCount = reader.arrayLength(2);
      for (let c = 0; c < configCount; c++) {
        reader.string();
        reader.nullableString();
        reader.tags();
      }
      reader.tags();
      if (this.createTopicError === 0) this.addTopic(name, Math.max(partitions, 1));
      writer.string(name);
      if (apiVersion >= 7) writer.raw(Buffer.alloc(16, name));
      writer.int16(this.createTopicError).string(null);
      if (apiVersion >= 5) writer.int32(-1).int16(-1).arrayLength(0);
      writer.tags();
    }
    return { body: Buffer.from(writer.tags().slice()) };
  }

  #produce(nodeId: number, request: FakeRequest): FakeAnswer {
    const { acks, batches, transactionalId } = readProduce(request.body, request.apiVersion);
    const attempts = batches.map((batch) => this.#attempt(nodeId, batch));
    this.requests.push({
      nodeId,
      acks,
      partitions: batches.map((each) => `${each.topic}/${each.partition}`),
    });
    const opened = batches.map((batch) => this.#opened(batch, request.socket));
    const close = () => opened.forEach((open) => this.#open.delete(open));
    const fault = this.fault(attempts) ?? {};
    if (fault.kind === "cut-before" || fault.kind === "silence") {
      close();
      return fault.kind === "silence" ? "silence" : "cut";
    }
    if (fault.kind === "cut-late") {
      close();
      setTimeout(() => attempts.forEach((attempt) => this.#append(attempt)), fault.delayMs ?? 0);
      return "cut";
    }
    const answers = attempts.map((attempt) => {
      const { topic, partition } = attempt;
      const refused = transactionalId === null ? 0 : this.transactions.check(transactionalId, attempt);
      return refused === 0 ? this.#append(attempt) : { topic, partition, errorCode: refused, baseOffset: -1 };
    });
    if (acks === 0 || fault.kind === "silence-after") {
      close();
      return "silence";
    }
    if (fault.kind === "cut-after") {
      close();
      return "cut";
    }
    const told = answers.filter(({ partition }) => fault.leaveOut?.(partition) !== true);
    const body = fault.kind === "garbage"
      ? Buffer.alloc(40, 0xee)
      : produceAnswer(told, request.apiVersion, fault.throttleMs);
    setTimeout(() => {
      close();
      request.socket.write(frameOf(request.correlationId, body, request.apiVersion >= 9));
    }, fault.delayMs ?? 0);
    return "silence";
  }

  #attempt(nodeId: number, batch: SentBatch): Attempt {
    const index =
      this.attempts.filter((each) => each.topic === batch.topic && each.partition === batch.partition).length;
    const header = readBatchHeader(batch.bytes);
    const values = (header.attributes & 7) === 0
      ? readRecords(header.payload, header.recordCount).map((record) => String(record.value))
      : [];
    const attempt = { ...batch, nodeId, header, values, index, atMs: performance.now() };
    this.attempts.push(attempt);
    return attempt;
  }

  #opened(batch: SentBatch, socket: Socket): Open {
    const key = `${batch.topic}/${batch.partition}`;
    for (const open of this.#open) {
      if (open.key === key && open.socket === socket) this.violations.push(`two batches of ${key} in flight`);
    }
    const open = { key, socket };
    this.#open.add(open);
    return open;
  }

  #append(attempt: Attempt): PartitionAnswer {
    const { topic, partition, bytes, nodeId } = attempt;
    const log = this.topics.get(topic)?.[partition];
    if (log === undefined) {
      return { topic, partition, errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, baseOffset: -1 };
    }
    if (log.leader !== nodeId) {
      return { topic, partition, errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER, baseOffset: -1 };
    }
    const refusal = this.refuse(attempt);
    try {
      if (refusal === undefined) return { topic, partition, ...log.append(bytes) };
      if (refusal.isAppended === true) log.append(bytes);
      return { topic, partition, baseOffset: -1, ...refusal };
    } catch (error) {
      this.violations.push(`${topic}/${partition}: ${(error as Error).message}`);
      return { topic, partition, errorCode: ErrorCode.CORRUPT_MESSAGE, baseOffset: -1 };
    }
  }
}

/** The rest of a resource of a DescribeConfigs request. */
function readKeys(reader: WireReader): void {
  for (let left = reader.arrayLength(1); left > 0; left--) reader.string();
  reader.tags();
}
