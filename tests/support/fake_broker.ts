import { createServer, type Server, type Socket } from "node:net";
import { ApiKey, isFlexible } from "../../src/kafka/protocol/api_keys.ts";
import { WireReader, WireWriter } from "../../src/kafka/protocol/wire.ts";

/** A request as the broker sees it. */
export interface FakeRequest {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  /** What follows the header. */
  readonly body: Buffer;
  readonly socket: Socket;
}

/** What to do with a request: answer with a body, say nothing, cut the connection, or write these very bytes. */
export type FakeAnswer =
  | { readonly body: Buffer; readonly delayMs?: number; readonly correlationId?: number }
  | { readonly raw: Buffer; readonly thenCut?: boolean }
  | "silence"
  | "cut";

export type FakeHandler = (request: FakeRequest) => FakeAnswer;

/** What a broker of today offers of the APIs that are spoken here. */
export const FAKE_API_VERSIONS: readonly (readonly [key: number, min: number, max: number])[] = [
  [ApiKey.Produce, 0, 12],
  [ApiKey.Fetch, 4, 17],
  [ApiKey.ListOffsets, 1, 9],
  [ApiKey.Metadata, 0, 13],
  [ApiKey.FindCoordinator, 0, 6],
  [ApiKey.SaslHandshake, 0, 1],
  [ApiKey.ApiVersions, 0, 4],
  [ApiKey.CreateTopics, 2, 7],
  [ApiKey.InitProducerId, 0, 5],
  [ApiKey.OffsetForLeaderEpoch, 2, 4],
  [ApiKey.AddPartitionsToTxn, 0, 5],
  [ApiKey.EndTxn, 0, 5],
  [ApiKey.DescribeConfigs, 1, 4],
  [ApiKey.SaslAuthenticate, 0, 2],
  [ApiKey.DescribeProducers, 0, 0],
  [ApiKey.DescribeTransactions, 0, 0],
];

/** A broker on a loopback port, whose answers a test writes. Knows only ApiVersions by itself; other requests get no answer. */
export class FakeBroker {
  readonly requests: FakeRequest[] = [];
  readonly handlers = new Map<number, FakeHandler>();
  readonly sockets = new Set<Socket>();
  connectionsCount = 0;
  readonly #server: Server;
  #port = 0;

  private constructor() {
    this.#server = createServer((socket) => this.#accept(socket));
    this.handlers.set(
      ApiKey.ApiVersions,
      (request) => ({ body: apiVersionsBody(FAKE_API_VERSIONS, request.apiVersion) }),
    );
  }

  static async start(port = 0): Promise<FakeBroker> {
    const broker = new FakeBroker();
    await broker.listen(port);
    return broker;
  }

  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Starts to listen (again). */
  listen(port = this.#port): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, "127.0.0.1", () => {
        this.#port = (this.#server.address() as { port: number }).port;
        this.#server.off("error", reject);
        resolve();
      });
    });
  }

  /** From now on new connections hear that these APIs are not there. */
  without(...apiKeys: readonly number[]): this {
    const apis = FAKE_API_VERSIONS.filter(([key]) => !apiKeys.includes(key));
    return this.on(ApiKey.ApiVersions, (request) => ({ body: apiVersionsBody(apis, request.apiVersion) }));
  }

  on(apiKey: number, handler: FakeHandler): this {
    this.handlers.set(apiKey, handler);
    return this;
  }

  countOf(apiKey: number): number {
    return this.requests.filter((request) => request.apiKey === apiKey).length;
  }

  cutAll(): void {
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }

  /** Stops listening and cuts what is open. */
  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.cutAll();
    });
  }

  #accept(socket: Socket): void {
    this.connectionsCount++;
    this.sockets.add(socket);
    let pending: Buffer = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("close", () => this.sockets.delete(socket));
    socket.on("data", (data: Buffer) => {
      pending = Buffer.concat([pending, data]);
      while (pending.length >= 4 && pending.length >= 4 + pending.readInt32BE(0)) {
        const end = 4 + pending.readInt32BE(0);
        this.#take(pending.subarray(4, end), socket);
        pending = pending.subarray(end);
      }
    });
  }

  #take(frame: Buffer, socket: Socket): void {
    const reader = new WireReader(frame, false);
    const apiKey = reader.int16();
    const apiVersion = reader.int16();
    const correlationId = reader.int32();
    const clientId = reader.nullableString();
    const flexible = isFlexible(apiKey, apiVersion);
    if (flexible) reader.int8();
    const body = Buffer.from(frame.subarray(frame.length - reader.remaining));
    const request: FakeRequest = { apiKey, apiVersion, correlationId, clientId, body, socket };
    this.requests.push(request);
    const answer = this.handlers.get(apiKey)?.(request) ?? "silence";
    if (answer === "silence") return;
    if (answer === "cut") return void socket.destroy();
    if ("raw" in answer) {
      socket.write(answer.raw);
      if (answer.thenCut === true) socket.end();
      return;
    }
    const withTags = flexible && apiKey !== ApiKey.ApiVersions;
    const out = frameOf(answer.correlationId ?? correlationId, answer.body, withTags);
    if (answer.delayMs === undefined) socket.write(out);
    else setTimeout(() => socket.write(out), answer.delayMs);
  }
}

/** An answer as it goes over the wire. */
export function frameOf(correlationId: number, body: Buffer, withTags: boolean): Buffer {
  const writer = new WireWriter(withTags, body.length + 16);
  writer.int32(4 + (withTags ? 1 : 0) + body.length).int32(correlationId).tags().raw(body);
  return Buffer.from(writer.slice());
}

export function apiVersionsBody(
  apis: readonly (readonly [number, number, number])[],
  apiVersion: number,
  errorCode = 0,
  features: Readonly<Record<string, number>> = {},
): Buffer {
  const writer = new WireWriter(apiVersion >= 3);
  writer.int16(errorCode).arrayLength(apis.length);
  for (const [key, min, max] of apis) writer.int16(key).int16(min).int16(max).tags();
  if (apiVersion >= 1) writer.int32(0);
  const levels = Object.entries(features);
  if (apiVersion < 3 || levels.length === 0) return Buffer.from(writer.tags().slice());
  const field = new WireWriter(true).arrayLength(levels.length);
  for (const [name, level] of levels) field.string(name).int16(level).int16(0).tags();
  writer.uvarint(1).uvarint(2).uvarint(field.length).raw(field.slice());
  return Buffer.from(writer.slice());
}

export interface FakePartition {
  readonly id: number;
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly errorCode?: number;
}

export interface FakeTopic {
  readonly name: string;
  readonly errorCode?: number;
  /** 16 bytes. */
  readonly topicId?: Buffer;
  readonly partitions: readonly FakePartition[];
}

export interface FakeCluster {
  readonly brokers: readonly { readonly id: number; readonly host: string; readonly port: number }[];
  readonly clusterId: string | null;
  readonly controllerId: number;
  readonly topics: readonly FakeTopic[];
}

/** Body of a Metadata answer. */
export function metadataBody(cluster: FakeCluster, apiVersion: number): Buffer {
  const writer = new WireWriter(apiVersion >= 9);
  writer.int32(0).arrayLength(cluster.brokers.length);
  for (const { id, host, port } of cluster.brokers) {
    writer.int32(id).string(host).int32(port).string(null).tags();
  }
  writer.string(cluster.clusterId).int32(cluster.controllerId).arrayLength(cluster.topics.length);
  for (const topic of cluster.topics) {
    writer.int16(topic.errorCode ?? 0).string(topic.name);
    if (apiVersion >= 10) writer.raw(topic.topicId ?? Buffer.alloc(16, topic.name));
    writer.boolean(false).arrayLength(topic.partitions.length);
    for (const { id, leader, leaderEpoch, errorCode } of topic.partitions) {
      writer.int16(errorCode ?? 0).int32(id).int32(leader);
      if (apiVersion >= 7) writer.int32(leaderEpoch);
      writer.arrayLength(1).int32(leader).arrayLength(1).int32(leader);
      if (apiVersion >= 5) writer.arrayLength(0);
      writer.tags();
    }
    if (apiVersion >= 8) writer.int32(-2147483648);
    writer.tags();
  }
  if (apiVersion >= 8 && apiVersion <= 10) writer.int32(-2147483648);
  return Buffer.from(writer.tags().slice());
}

/** Names of the topics in a Metadata request. */
export function metadataTopics(request: FakeRequest): string[] {
  const reader = new WireReader(request.body, request.apiVersion >= 9);
  const names: string[] = [];
  const count = reader.arrayLength(2);
  for (let i = 0; i < count; i++) {
    if (request.apiVersion >= 10) reader.uuid();
    names.push(reader.string());
    reader.tags();
  }
  return names;
}
