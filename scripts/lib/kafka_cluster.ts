import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Broker } from "./kafka_broker.ts";
import { type Certificates, makeCertificates } from "./kafka_certificates.ts";
import { brokerVersion, ensureKafka, type KafkaFiles } from "./kafka_files.ts";
import { probeBroker } from "./kafka_probe.ts";
import {
  type BrokerPlan,
  type ListenerName,
  listenerNames,
  type ListenerPorts,
  quorumSize,
  type Security,
} from "./kafka_properties.ts";
import { freePorts } from "./ports.ts";
import {
  type ClusterState,
  isOfThisScope,
  readState,
  runningBrokers,
  stopRecorded,
  writeState,
} from "./kafka_state.ts";
import { identify, isRunning } from "./process_identity.ts";
import { runCommand } from "./run_command.ts";

export interface ClusterOptions {
  /** Default 1. The first three of them form the controller quorum (one, when there are two). */
  readonly brokers?: number;
  readonly security?: Security;
  /** Rights are checked (StandardAuthorizer); "admin" and everyone on PLAINTEXT may do all. */
  readonly acl?: boolean;
  /** Broker properties that go over the ones for tests. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Levels of features that the cluster starts with, for example {"transaction.version": 0}; others have the newest. */
  readonly features?: Readonly<Record<string, number>>;
  /** Default: a temporary folder. Must not hold another cluster. */
  readonly dir?: string;
  /** One port for each broker, under which its PROXIED listener is advertised: where a test's proxy listens. */
  readonly advertisedPorts?: readonly number[];
  /** The brokers outlive this process; `scripts/kafka stop` ends them. Otherwise they die with it, however it dies. */
  readonly detached?: boolean;
  /** Java heap of each broker; default 512. */
  readonly heapMb?: number;
  /** Told what is going on, for people. */
  readonly progress?: (message: string) => void;
}

const START_TIMEOUT_MS = 90_000;
const START_ATTEMPTS_MAX = 3;
const POLL_MS = 50;
const TEMP_PREFIX = "shipper-kafka-";
const STATE_FILE = "cluster.json";
const LIFELINE_FILE = "lifeline";

/** A running Kafka cluster on loopback, for tests and trials. */
export class Cluster {
  readonly dir: string;
  readonly clusterId: string;
  readonly brokers: readonly Broker[];
  readonly certificates: Certificates | null;
  /** Bootstrap servers of each listener, "127.0.0.1:port,127.0.0.1:port". */
  readonly listeners: Readonly<Partial<Record<ListenerName, string>>>;
  readonly #detached: boolean;

  #lifelineFd: number | null = null;

  constructor(
    dir: string,
    clusterId: string,
    brokers: readonly Broker[],
    certificates: Certificates | null,
    detached: boolean,
  ) {
    this.dir = dir;
    this.clusterId = clusterId;
    this.brokers = brokers;
    this.certificates = certificates;
    this.#detached = detached;
    const listeners: Partial<Record<ListenerName, string>> = {};
    for (const name of Object.keys(brokers[0]!.ports) as ListenerName[]) {
      listeners[name] = brokers.map((broker) => `127.0.0.1:${broker.ports[name]}`).join(",");
    }
    this.listeners = listeners;
  }

  /** Bootstrap servers of the PLAINTEXT listener. */
  get bootstrap(): string {
    return this.listeners.PLAINTEXT!;
  }

  /** Starts a broker that was stopped or killed, on its ports and data, and waits until the cluster counts it again. */
  async startBroker(index: number): Promise<void> {
    await this.launch([this.brokers[index]!]);
    await this.waitUntilReady();
  }

  /** Starts processes, without waiting until they answer. */
  async launch(brokers: readonly Broker[]): Promise<void> {
    const lifelinePath = this.#detached ? null : join(this.dir, LIFELINE_FILE);
    if (lifelinePath !== null && this.#lifelineFd === null) {
      await runCommand("mkfifo", [lifelinePath]);
      this.#lifelineFd = openSync(lifelinePath, "r+"); // both ends: opening one alone would wait for the other
    }
    await Promise.all(brokers.map((broker) => broker.launch(lifelinePath)));
    this.saveState();
  }

  /** Resolves when every running broker knows a controller and all running brokers. Rejects when one ends, or takes too long. */
  async waitUntilReady(timeoutMs = START_TIMEOUT_MS): Promise<void> {
    const started = this.brokers.filter((broker) => broker.pid !== null);
    if (started.length === 0) {
      throw new Error(`Cannot start Kafka: no broker is running\n${this.brokers[0]!.logTail()}`);
    }
    const deadlineMs = Date.now() + timeoutMs;
    for (const broker of started) {
      for (;;) {
        if (broker.pid === null) {
          throw new Error(`Cannot start Kafka: broker ${broker.id} ended\n${broker.logTail()}`);
        }
        const view = await probeBroker(broker.port);
        if (
          view !== null && view.controllerId >= 0 &&
          started.every((other) => view.brokerIds.includes(other.id))
        ) break;
        if (Date.now() > deadlineMs) {
          throw new Error(
            `Cannot start Kafka: broker ${broker.id} is not ready after ${timeoutMs} ms\n${broker.logTail()}`,
          );
        }
        await Bun.sleep(POLL_MS);
      }
    }
  }

  /** Kills every broker and removes all that the cluster wrote. */
  async stop(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.kill()));
    if (this.#lifelineFd !== null) closeSync(this.#lifelineFd);
    this.#lifelineFd = null;
    removeClusterFiles(this.dir);
  }

  /** Writes cluster.json, from which another process finds or stops the cluster. */
  saveState(): void {
    writeState(join(this.dir, STATE_FILE), {
      clusterId: this.clusterId,
      owner: this.#detached ? null : identify(process.pid),
      listeners: this.listeners,
      certificates: this.certificates,
      brokers: this.brokers.map(({ id, ports, advertisedPort, process }) => ({
        id,
        ports,
        advertisedPort,
        process,
      })),
    });
  }
}

/** Starts a cluster and resolves when it takes requests. Rejects with the end of a broker's log when it does not come up. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const progress = options.progress ?? (() => {});
  await removeStaleClusters();
  const files = await ensureKafka(progress, brokerVersion());
  const dir = options.dir === undefined ? mkdtempSync(join(tmpdir(), TEMP_PREFIX)) : resolve(options.dir);
  const found = readCluster(dir);
  if (found !== null && runningBrokers(found).length > 0) {
    throw new Error(
      `Cannot start Kafka in "${dir}": a cluster is there already; "scripts/kafka stop --dir ${dir}" removes it`,
    );
  }
  if (found !== null) removeClusterFiles(dir);
  mkdirSync(dir, { recursive: true });
  for (let attempt = 1;; attempt++) {
    try {
      return await startOnce(dir, files, options, progress);
    } catch (error) {
      const portTaken = /BindException|Address already in use/.test(String(error));
      if (!portTaken || options.advertisedPorts !== undefined || attempt === START_ATTEMPTS_MAX) throw error;
    }
  }
}

async function startOnce(
  dir: string,
  files: KafkaFiles,
  options: ClusterOptions,
  progress: (message: string) => void,
): Promise<Cluster> {
  const detached = options.detached ?? false;
  const certificates = options.security === "sasl_ssl"
    ? await makeCertificates(join(dir, "certificates"))
    : null;
  const plans = await planBrokers(dir, certificates, options);
  const clusterId = newClusterId();
  const heapMb = options.heapMb ?? 512;
  const brokers = plans.map((plan) => new Broker(join(dir, `broker-${plan.id}`), plan, files, heapMb));
  const cluster = new Cluster(dir, clusterId, brokers, certificates, detached);
  cluster.saveState(); // before the first process: what is half made is found and removed, too
  try {
    progress(`Starting Apache Kafka ${files.version} with ${brokers.length} broker(s) in ${dir}`);
    await Promise.all(brokers.map((broker) => broker.prepare(clusterId)));
    await cluster.launch(brokers);
    await cluster.waitUntilReady();
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

function newClusterId(): string {
  const id = randomBytes(16).toString("base64url");
  return id.startsWith("-") ? newClusterId() : id; // Kafka's tools take it for an option
}

async function planBrokers(
  dir: string,
  certificates: Certificates | null,
  options: ClusterOptions,
): Promise<BrokerPlan[]> {
  const brokerCount = options.brokers ?? 1;
  const names = listenerNames(options.security ?? "plaintext", options.advertisedPorts !== undefined);
  const quorum = (await freePorts(quorumSize(brokerCount))).map((port, index) => ({ id: index + 1, port }));
  const plans: BrokerPlan[] = [];
  for (let index = 0; index < brokerCount; index++) {
    const id = index + 1;
    const ports = await freePorts(names.length);
    plans.push({
      id,
      dataDir: join(dir, `broker-${id}`, "data"),
      ports: Object.fromEntries(names.map((name, i) => [name, ports[i]!])) as unknown as ListenerPorts,
      advertisedPort: options.advertisedPorts?.[index] ?? null,
      controllerPort: quorum[index]?.port ?? null,
      quorum,
      brokerCount,
      certificates,
      acl: options.acl ?? false,
      settings: options.settings ?? {},
      features: options.features ?? {},
    });
  }
  return plans;
}

/** What is recorded of the cluster in a folder, or null when there is none. */
export function readCluster(dir: string): ClusterState | null {
  return readState(join(dir, STATE_FILE));
}

/** Ends the cluster of a folder, whoever started it, and removes its files. False when there is none. */
export async function stopCluster(dir: string): Promise<boolean> {
  const state = readCluster(dir);
  if (state === null) return false;
  await stopRecorded(state);
  removeClusterFiles(dir);
  return true;
}

/** Removes clusters in temporary folders whose test run died before it could: their brokers are gone or killed by pid. */
async function removeStaleClusters(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(TEMP_PREFIX)) continue;
    const dir = join(tmpdir(), name);
    try {
      if (statSync(dir).uid !== process.getuid?.()) continue;
      const state = readCluster(dir);
      if (state === null || state.owner === null || !isOfThisScope(state) || isRunning(state.owner)) continue;
      await stopRecorded(state);
      removeClusterFiles(dir);
    } catch (error) {
      // Another process cleans the same folder now, most likely; a folder that stays does no harm.
      console.error(`Cannot remove the stale test cluster in "${dir}": ${error}`);
    }
  }
}

/** Removes only what a cluster wrote: the folder may be the user's own. */
function removeClusterFiles(dir: string): void {
  if (!existsSync(dir)) return;
  for (const name of readdirSync(dir)) {
    if (
      name === STATE_FILE || name === LIFELINE_FILE || name === "certificates" || /^broker-\d+$/.test(name)
    ) {
      rmSync(join(dir, name), { recursive: true, force: true, maxRetries: 5 });
    }
  }
  if (readdirSync(dir).length === 0) rmdirSync(dir);
}
