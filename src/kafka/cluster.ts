import type { DnsLookup } from "../config/config.ts";
import type { SaslConfig, TlsConfig } from "../config/config_security.ts";
import type { Log } from "../telemetry/log.ts";
import { BrokerLink } from "./broker_link.ts";
import {
  type ClusterRequests,
  createTopicsBy,
  initProducerIdBy,
  metadataOf,
  type ProducerId,
} from "./cluster_requests.ts";
import type { BrokerConnection } from "./broker_connection.ts";
import { openBrokerConnection } from "./dial.ts";
import { ConnectError, KafkaError, RequestError } from "./errors.ts";
import { firstSuccess } from "./hedged.ts";
import { createLogin, type Login } from "./login/login.ts";
import type { CreateTopicResult, NewTopic } from "./protocol/create_topics.ts";
import type { BrokerNode, MetadataResponse, TopicMetadata } from "./protocol/metadata.ts";
import { ProtocolError } from "./protocol/wire.ts";
import { SocketBuffers } from "./socket_buffers.ts";
import type { SeenCertificate } from "./tls/seen_certificate.ts";
import { findPartition, TopicCache } from "./topic_cache.ts";

export interface ClusterOptions {
  /** "host:port" or "[v6]:port" each, at least one. */
  readonly bootstrapServers: readonly string[];
  readonly clientId: string;
  readonly tls: TlsConfig | null;
  readonly sasl: SaslConfig | null;
  readonly connectTimeoutMs: number;
  readonly connectTimeoutMaxMs: number;
  readonly dnsLookup: DnsLookup;
  /** Sizes of the system's buffers of each connection; 0: its own. */
  readonly sendBufferBytes: number;
  readonly receiveBufferBytes: number;
  readonly socketTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly retryIntervalMs: number;
  readonly retryMaxIntervalMs: number;
  readonly metadataRefreshMs: number;
  readonly log: Log;
  /** In [0, 1); for jitter and for the order of bootstrap servers. */
  readonly random?: () => number;
  /** As in BrokerConnectionOptions. */
  readonly onCertificates?: (seen: readonly SeenCertificate[]) => void;
}

/** Metadata requests are at least this far apart. */
export const REFRESH_GAP_MS = 100;
/** A broker that has not answered after this long is not waited for alone: the next one is asked as well. */
const HEDGE_MS = 1_000;
/** Back-off from a broker that the cluster counts as running: it may have come back, or be about to be found dead. */
const LISTED_WAIT_MS = 1_000;
/** Topics in one Metadata request. */
const TOPICS_PER_REQUEST_MAX = 1_000;

/** A refresh that was asked for and not sent yet. */
interface Round {
  readonly topics: Set<string>;
  readonly promise: Promise<void>;
}

/** The brokers of one Kafka cluster, one connection to each that is needed, and what they say about topics. */
export class Cluster implements ClusterRequests {
  readonly options: ClusterOptions;
  readonly #random: () => number;
  readonly #login: Login | null;
  readonly #seeds: readonly BrokerLink[];
  readonly #links = new Map<number, BrokerLink>();
  readonly #topics = new TopicCache();
  readonly #callbacks = new Set<() => void>();
  readonly #abort = new AbortController();
  readonly #socketBuffers: SocketBuffers;
  #nextRound: Round | null = null;
  #lastRound: Promise<void> = Promise.resolve();
  #lastSentMs = -Infinity;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #clusterId: string | null = null;
  #controllerId = -1;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.#random = options.random ?? Math.random;
    const { sasl, log } = options;
    this.#login = sasl === null ? null : createLogin(sasl, { log, now: Date.now });
    const { sendBufferBytes: sendBytes, receiveBufferBytes: receiveBytes } = options;
    this.#socketBuffers = new SocketBuffers({ sendBytes, receiveBytes }, options.log);
    this.#seeds = shuffled(options.bootstrapServers, this.#random).map((server) => {
      const { host, port } = parseServer(server);
      return this.#newLink(host, port, false);
    });
  }

  /** Null before the first answer. */
  get clusterId(): string | null {
    return this.#clusterId;
  }

  /** -1 before the first answer, or when there is none. */
  get controllerId(): number {
    return this.#controllerId;
  }

  /** From the cache. undefined: never answered. `errorCode` 3: the cluster does not know it. */
  topic(name: string): TopicMetadata | undefined {
    return this.#topics.get(name);
  }

  /** Node id of the leader, -1 when it is not known. */
  leaderOf(topic: string, partition: number): number {
    const known = this.#topics.get(topic);
    return known === undefined ? -1 : findPartition(known, partition)?.leader ?? -1;
  }

  /** Calls back after metadata brought anything new: leader, epoch, partitions, errors, brokers. Returns how to stop that. */
  onChange(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  /**
   * Asks for these topics, remembers them for the periodic refresh, and resolves when the answer is in the cache (an answer may
   * consist of errors: look at `errorCode`). Calls share one request where that was not sent yet. Rejects with KafkaError when every
   * broker and bootstrap server was tried once and failed; the next call waits for their back-off.
   */
  refresh(topics: readonly string[], reason: string): Promise<void> {
    if (this.#abort.signal.aborted) return Promise.reject(this.#closedError());
    for (const name of topics) this.#topics.remember(name);
    if (this.#nextRound === null) {
      this.options.log.debug(`Asking for metadata: ${reason}`);
      const wanted = new Set(topics);
      const round: Round = { topics: wanted, promise: this.#lastRound.then(() => this.#run(wanted)) };
      this.#nextRound = round;
      this.#lastRound = round.promise.catch(() => {});
      return round.promise;
    }
    for (const name of topics) this.#nextRound.topics.add(name);
    return this.#nextRound.promise;
  }

  async #run(topics: ReadonlySet<string>): Promise<void> {
    const waitMs = this.#lastSentMs + REFRESH_GAP_MS - performance.now();
    if (waitMs > 0) await Bun.sleep(waitMs);
    // From here on new callers need a new request: they may have seen something newer than this one's answer.
    this.#nextRound = null;
    if (this.#abort.signal.aborted) throw this.#closedError();
    this.#lastSentMs = performance.now();
    const names = [...topics];
    try {
      let changed = false;
      for (let i = 0; i === 0 || i < names.length; i += TOPICS_PER_REQUEST_MAX) {
        const part = names.slice(i, i + TOPICS_PER_REQUEST_MAX);
        const { requestTimeoutMs } = this.options;
        const answer = await this.ask((connection) => metadataOf(connection, part, requestTimeoutMs));
        if (this.#apply(answer)) changed = true;
      }
      if (changed) this.#tellChange();
    } finally {
      this.#planRefresh();
    }
  }

  /**
   * Asks a broker over this connection what cluster it belongs to, and takes over what it says where that is another one than was known. Rejects
   * as the connection's requests do.
   */
  async checkCluster(connection: BrokerConnection): Promise<void> {
    const answer = await metadataOf(connection, [], this.options.requestTimeoutMs);
    if (answer.clusterId !== this.#clusterId && this.#apply(answer)) this.#tellChange();
  }

  #tellChange(): void {
    for (const callback of [...this.#callbacks]) callback();
  }

  #apply(answer: MetadataResponse): boolean {
    if (this.#abort.signal.aborted) return false;
    if (this.#clusterId !== null && answer.clusterId !== null && answer.clusterId !== this.#clusterId) {
      this.options.log.warn(
        `The brokers now belong to cluster "${answer.clusterId}", before it was "${this.#clusterId}"`,
      );
      // What is open may lead to brokers of the one before, which is perhaps still there: numbers of brokers and of producers mean others now.
      for (const { connection } of [...this.#links.values(), ...this.#seeds]) connection?.close();
      this.#topics.forgetAnswers();
    }
    const isOther = answer.clusterId !== this.#clusterId;
    this.#clusterId = answer.clusterId;
    this.#controllerId = answer.controllerId;
    const brokersChanged = this.#applyBrokers(answer.brokers);
    return this.#topics.update(answer.topics) || brokersChanged || isOther;
  }

  #applyBrokers(brokers: readonly BrokerNode[]): boolean {
    let changed = false;
    const listed = new Set<number>();
    for (const { id, host, port } of brokers) {
      listed.add(id);
      const link = this.#links.get(id);
      if (link === undefined) {
        this.#links.set(id, this.#newLink(host, port, true));
        changed = true;
      } else if (link.host !== host || link.port !== port) {
        link.move(host, port);
        changed = true;
      }
      this.#links.get(id)!.waitAtMost(LISTED_WAIT_MS);
      this.#adoptSeed(id);
    }
    for (const [id, link] of this.#links) {
      if (listed.has(id)) continue;
      // A broker that is down is left out of the list: its link goes, so that its return starts without back-off. An open
      // connection has the last word.
      if (link.connection !== null) continue;
      link.close();
      this.#links.delete(id);
      changed = true;
    }
    return changed;
  }

  /** The connection over which the first metadata came often leads to a broker's own address. */
  #adoptSeed(id: number): void {
    const link = this.#links.get(id)!;
    if (link.connection !== null) return;
    for (const seed of this.#seeds) {
      if (seed.host !== link.host || seed.port !== link.port) continue;
      const connection = seed.release();
      if (connection !== null && !link.adopt(connection)) connection.close();
    }
  }

  #newLink(host: string, port: number, advertised: boolean): BrokerLink {
    const ours = {
      login: this.#login,
      isCanonical: this.options.dnsLookup === "resolve_canonical_bootstrap_servers_only",
      socketBuffers: this.#socketBuffers,
      advertised,
    };
    return new BrokerLink({
      ...this.options,
      host,
      port,
      random: this.#random,
      open: (target, signal) => openBrokerConnection({ ...this.options, ...ours, ...target, signal }),
    });
  }

  #planRefresh(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#abort.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.refresh(this.#topics.names(), "metadata_refresh_ms").catch((error: unknown) => {
        this.options.log.debug(`Metadata could not be refreshed: ${(error as Error).message}`);
      });
    }, this.options.metadataRefreshMs);
    this.#timer.unref();
  }

  /** The open connection to a broker, or null; never waits. */
  openConnection(nodeId: number): BrokerConnection | null {
    return this.#links.get(nodeId)?.connection ?? null;
  }

  /** Gives up the connection to a broker and all that is known of the way there, until metadata lists it again. */
  forget(nodeId: number): void {
    this.#links.get(nodeId)?.close();
    this.#links.delete(nodeId);
  }

  /**
   * The open connection to a broker, or a new one after what is left of its back-off. Rejects with ConnectError after one failed try,
   * RequestError "unknown-broker" when metadata does not list it. The connection belongs to the cluster: don't close it.
   */
  connectionTo(nodeId: number): Promise<BrokerConnection> {
    const link = this.#links.get(nodeId);
    if (link !== undefined) return link.connect();
    const message = `Cannot connect to broker ${nodeId}: the cluster does not list it now`;
    return Promise.reject(new RequestError("unknown-broker", message, { hint: "Start the broker" }));
  }

  /**
   * Does `attempt` with any broker that answers, the likely ones first: connections that are open and idle, open ones, brokers
   * without connection, bootstrap servers, brokers that failed just now. Errors of the connection and answers that can't be read count
   * as failed; rejects with the first error when all have failed.
   */
  async ask<T>(attempt: (connection: BrokerConnection) => Promise<T>): Promise<T> {
    if (this.#abort.signal.aborted) throw this.#closedError();
    const links = this.#candidates();
    const isSeed = new Set(this.#seeds);
    return await firstSuccess(links, HEDGE_MS, async (link) => {
      const connection = await link.connect();
      try {
        return await attempt(connection);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        connection.close();
        throw new RequestError(
          "bad-answer",
          `Broker "${connection.broker}" gave an unusable answer: ${error.message}`,
          {
            broker: connection.broker,
            cause: error,
          },
        );
      } finally {
        if (isSeed.has(link)) this.#releaseSeedSoon(link);
      }
    }, this.#abort.signal).catch((error: unknown) => {
      throw this.#abort.signal.aborted ? this.#closedError() : error;
    });
  }

  /** Once brokers are known by id, a bootstrap connection that is none of theirs only costs both sides. Who is answered last over it closes it. */
  #releaseSeedSoon(seed: BrokerLink): void {
    queueMicrotask(() => {
      setTimeout(() => {
        if (this.#links.size > 0 && seed.connection?.inFlightCount === 0) seed.release()?.close();
      }, 0);
    });
  }

  #candidates(): BrokerLink[] {
    const rank = (link: BrokerLink): number => {
      const { connection } = link;
      if (connection !== null) return connection.inFlightCount === 0 ? 0 : 1;
      return link.isBackingOff ? 4 : 2;
    };
    const nodes = shuffled([...this.#links.values()], this.#random).map((link) => ({
      link,
      rank: rank(link),
    }));
    const isKnown = (seed: BrokerLink) =>
      nodes.some(({ link }) => link.host === seed.host && link.port === seed.port);
    const seeds = this.#seeds.filter((seed) => !isKnown(seed)).map((link) => ({
      link,
      rank: link.isBackingOff ? 5 : 3,
    }));
    return [...nodes, ...seeds].sort((a, b) => a.rank - b.rank).map(({ link }) => link);
  }

  /** A producer id for idempotence. Tries until `signal` aborts; rejects with RequestError when the cluster refuses for good. */
  initProducerId(signal: AbortSignal): Promise<ProducerId> {
    return initProducerIdBy(this, signal, this.#random);
  }

  /** One try at creating topics, through the controller. Each topic's outcome is in the result. */
  createTopics(
    topics: readonly NewTopic[],
    signal: AbortSignal,
    validateOnly = false,
  ): Promise<readonly CreateTopicResult[]> {
    return createTopicsBy(this, topics, validateOnly, signal);
  }

  /** Closes all connections at once; what waits rejects with "closed". */
  close(): void {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort(this.#closedError());
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const link of [...this.#links.values(), ...this.#seeds]) link.close();
    this.#callbacks.clear();
  }

  #closedError(): KafkaError {
    return new RequestError("closed", "The connections to the Kafka cluster were closed here");
  }
}

/** Splits "host:port" and "[v6]:port". Throws ConnectError "bootstrap" when it is neither. */
export function parseServer(server: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(server);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65535) {
    throw new ConnectError("bootstrap", `Cannot use bootstrap server "${server}": it is not host:port`, {
      hint: `Write it like "kafka.example.com:9092" or "[::1]:9092"`,
    });
  }
  return { host: (match[1] ?? match[2])!, port };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}
