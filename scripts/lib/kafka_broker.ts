import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { javaArguments, type KafkaFiles } from "./kafka_files.ts";
import { type BrokerPlan, brokerProperties, KAFKA_USERS, type ListenerPorts } from "./kafka_properties.ts";
import { identify, isRunning, type ProcessIdentity, signalProcess } from "./process_identity.ts";
import { runCommand } from "./run_command.ts";

const TERM_TIMEOUT_MS = 20_000;
const KILL_TIMEOUT_MS = 10_000;
const POLL_MS = 20;
const LOG_TAIL_CHARS = 3_000;

/**
 * Runs "$@" in the place of this shell. A helper beside it reads file descriptor 3, whose other end the parent holds: when the parent
 * is gone, however it died, the read ends without a line and the helper kills the program.
 */
const WATCHED = '(read -r _ <&3 || kill -9 $$) </dev/null & exec "$@" 3<&-';

/** One Kafka process of a test cluster, on loopback. It keeps its ports and data over `stop`, `kill` and `start`. */
export class Broker {
  readonly id: number;
  readonly ports: ListenerPorts;
  /** Folder of its properties, log and data. */
  readonly dir: string;
  readonly #plan: BrokerPlan;
  readonly #files: KafkaFiles;
  readonly #heapMb: number;
  #process: ProcessIdentity | null = null;
  #child: ChildProcess | null = null;

  constructor(dir: string, plan: BrokerPlan, files: KafkaFiles, heapMb: number) {
    this.id = plan.id;
    this.ports = plan.ports;
    this.dir = dir;
    this.#plan = plan;
    this.#files = files;
    this.#heapMb = heapMb;
  }

  /** Port of the PLAINTEXT listener. */
  get port(): number {
    return this.ports.PLAINTEXT;
  }

  /** Pid of the running process, or null. */
  get pid(): number | null {
    return this.process?.pid ?? null;
  }

  /** The running process, or null. */
  get process(): ProcessIdentity | null {
    if (this.#process !== null && !isRunning(this.#process)) this.#process = null;
    return this.#process;
  }

  get logPath(): string {
    return join(this.dir, "server.log");
  }

  /** Writes the properties and, the first time, formats the data folder. */
  async prepare(clusterId: string): Promise<void> {
    mkdirSync(join(this.dir, "tmp"), { recursive: true });
    writeFileSync(this.#propertiesPath, brokerProperties(this.#plan), { mode: 0o600 });
    if (existsSync(join(this.#plan.dataDir, "meta.properties"))) return;
    const scram = this.#plan.certificates === null
      ? []
      : KAFKA_USERS.flatMap(({ username, password }) =>
        ["SCRAM-SHA-256", "SCRAM-SHA-512"].flatMap((mechanism) => [
          "--add-scram",
          `${mechanism}=[name=${username},password=${password}]`,
        ])
      );
    await runCommand("java", [
      ...javaArguments(this.#files, "tool", join(this.dir, "tmp"), 128),
      "kafka.tools.StorageTool",
      "format",
      "--cluster-id",
      clusterId,
      "--config",
      this.#propertiesPath,
      ...scram,
    ]);
  }

  /** Starts the process; it answers some seconds later (`Cluster.waitUntilReady`). With `detached` it outlives its starter. */
  launch(detached: boolean): void {
    if (this.process !== null) {
      throw new Error(`Cannot start broker ${this.id}: it is running as pid ${this.pid}`);
    }
    const log = openSync(this.logPath, "a");
    const java = [
      "java",
      ...javaArguments(this.#files, "broker", join(this.dir, "tmp"), this.#heapMb),
      "kafka.Kafka",
      this.#propertiesPath,
    ];
    const child = detached
      ? spawn(java[0]!, java.slice(1), { detached: true, stdio: ["ignore", log, log] })
      : spawn("sh", ["-c", WATCHED, "sh", ...java], { stdio: ["ignore", log, log, "pipe"] });
    closeSync(log);
    child.unref();
    if (child.pid === undefined) {
      throw new Error(`Cannot start broker ${this.id}: "java" or "sh" could not be run`);
    }
    this.#child = child;
    this.#process = identify(child.pid);
    child.on("exit", () => releaseHelper(child));
  }

  /** Ends it in order (SIGTERM), as an operator would; by force when that takes too long. */
  async stop(): Promise<void> {
    if (!this.#signal("SIGTERM")) return;
    if (!await this.#waitForExit(TERM_TIMEOUT_MS)) await this.kill();
  }

  /** Ends it like a power cut of its process (SIGKILL). */
  async kill(): Promise<void> {
    if (!this.#signal("SIGKILL")) return;
    if (!await this.#waitForExit(KILL_TIMEOUT_MS)) {
      throw new Error(`Cannot kill broker ${this.id}: pid ${this.pid} is still there`);
    }
  }

  /** Freezes the process: its sockets stay open and nothing answers. */
  pause(): void {
    if (!this.#signal("SIGSTOP")) throw new Error(`Cannot pause broker ${this.id}: it is not running`);
  }

  /** Ends a `pause`. */
  resume(): void {
    if (!this.#signal("SIGCONT")) throw new Error(`Cannot resume broker ${this.id}: it is not running`);
  }

  /** The end of the broker's log, for messages. */
  logTail(): string {
    return existsSync(this.logPath) ? readFileSync(this.logPath, "utf8").slice(-LOG_TAIL_CHARS) : "";
  }

  #signal(signal: NodeJS.Signals): boolean {
    const running = this.process;
    return running !== null && signalProcess(running, signal);
  }

  async #waitForExit(timeoutMs: number): Promise<boolean> {
    const deadlineMs = Date.now() + timeoutMs;
    while (this.process !== null) {
      if (Date.now() > deadlineMs) return false;
      await Bun.sleep(POLL_MS);
    }
    if (this.#child !== null) releaseHelper(this.#child);
    this.#child = null;
    return true;
  }

  get #propertiesPath(): string {
    return join(this.dir, "server.properties");
  }
}

/** Tells the helper beside an ended program that there is nothing to kill: its pid may belong to another one soon. */
function releaseHelper(child: ChildProcess): void {
  const pipe = child.stdio[3] as import("node:stream").Writable | null | undefined;
  if (pipe === null || pipe === undefined || pipe.destroyed || pipe.writableEnded) return;
  pipe.on("error", () => {}); // the helper may be gone with its program
  pipe.end("done\n");
}
