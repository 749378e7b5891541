import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { javaArguments, type KafkaFiles } from "./kafka_files.ts";
import { type BrokerPlan, brokerProperties, KAFKA_USERS, type ListenerPorts } from "./kafka_properties.ts";
import { identify, isRunning, type ProcessIdentity, signalProcess } from "./process_identity.ts";
import { runCommand } from "./run_command.ts";

const TERM_TIMEOUT_MS = 20_000;
const KILL_TIMEOUT_MS = 10_000;
const POLL_MS = 20;
const LOG_TAIL_CHARS = 3_000;

/**
 * Runs a program in the background, prints its pid and goes away as a child of the caller (a test runner kills its children when a test
 * takes too long). $1: a FIFO whose other end the caller holds open. When the caller is gone, however it died, reading it ends, and the
 * program is killed and its folder removed. $2: the caller's pid, $3: the folder, $4: the log.
 */
const WATCHED = `
lifeline=$1 caller=$2 dir=$3 log=$4
shift 4
{
  exec 3<"$lifeline"
  "$@" </dev/null >>"$log" 2>&1 3<&- &
  program=$!
  echo "$program"
  exec >/dev/null 2>&1
  { read -r _ <&3; kill -9 "$program"; } &
  watcher=$!
  exec 3<&-
  wait "$program"
  kill "$watcher"
  if ! kill -0 "$caller"; then
    rm -rf "$dir" "\${dir%/*}/cluster.json" "\${dir%/*}/certificates" "$lifeline"
    rmdir "\${dir%/*}"
  fi
} &
`;

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

  /** Under which the PROXIED listener is advertised, or null. */
  get advertisedPort(): number | null {
    return this.#plan.advertisedPort;
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
      ...Object.entries(this.#plan.features).flatMap(([name, level]) => ["--feature", `${name}=${level}`]),
    ]);
  }

  /**
   * Starts the process; it answers some seconds later (`Cluster.waitUntilReady`). It dies with this process, which holds the other end of
   * the FIFO at `lifelinePath`; with null it outlives it.
   */
  async launch(lifelinePath: string | null): Promise<void> {
    if (this.process !== null) {
      throw new Error(`Cannot start broker ${this.id}: it is running as pid ${this.pid}`);
    }
    const java = [
      "java",
      ...javaArguments(this.#files, "broker", join(this.dir, "tmp"), this.#heapMb, this.#tokenKeys()),
      "kafka.Kafka",
      this.#propertiesPath,
    ];
    const pid = lifelinePath === null
      ? launchDetached(java, this.logPath)
      : await launchWatched(java, lifelinePath, this.dir, this.logPath);
    this.#process = identify(pid);
  }

  /** The brokers take keys of tokens from no file that is not named to the JVM. */
  #tokenKeys(): string[] {
    const { certificates } = this.#plan;
    if (certificates === null) return [];
    const url = pathToFileURL(certificates.tokenKeySet).href;
    return [`-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=${url}`];
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
    return true;
  }

  get #propertiesPath(): string {
    return join(this.dir, "server.properties");
  }
}

function launchDetached(command: readonly string[], logPath: string): number {
  const log = openSync(logPath, "a");
  const child = spawn(command[0]!, command.slice(1), { detached: true, stdio: ["ignore", log, log] });
  closeSync(log);
  child.unref();
  if (child.pid === undefined) throw new Error(`Cannot start "${command[0]}": is it installed?`);
  return child.pid;
}

async function launchWatched(
  command: readonly string[],
  lifelinePath: string,
  dir: string,
  logPath: string,
): Promise<number> {
  const { stdout } = await runCommand("sh", [
    "-c",
    WATCHED,
    "sh",
    lifelinePath,
    String(process.pid),
    dir,
    logPath,
    ...command,
  ]);
  return Number(stdout);
}
