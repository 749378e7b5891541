// scripts/kafka: a Kafka cluster on loopback for trials, started and stopped by hand.
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Cluster, readCluster, startCluster, stopCluster } from "./lib/kafka_cluster.ts";
import { KAFKA_USERS } from "./lib/kafka_properties.ts";
import { makeToken } from "./lib/kafka_tokens.ts";
import { type ClusterState, runningBrokers } from "./lib/kafka_state.ts";
import { cacheDir } from "./lib/project.ts";

const USAGE =
  `Usage: scripts/kafka start [--brokers N] [--security plaintext|sasl_ssl] [--acl] [--set KEY=VALUE]... [--heap-mb N] [--dir DIR]
       scripts/kafka status [--dir DIR]
       scripts/kafka token [--user NAME] [--seconds N] [--dir DIR]
       scripts/kafka stop [--dir DIR]

Runs Apache Kafka (KRaft) on free loopback ports. Topics are not created by themselves; "--set auto.create.topics.enable=true"
changes that, and any other broker property. The brokers run until "stop", which also deletes their data.
"--acl" checks rights: "admin" and everyone on PLAINTEXT may do all, the other users nothing.
"token" prints a token for OAUTHBEARER that the brokers take (default: of "admin", for an hour).
With sasl_ssl there are also SSL_EXPIRED and SSL_OTHER_HOST, whose certificates are no good, and certificates and keys in every form.`;

const BROKERS_MAX = 9;

const { values, positionals } = readArguments();
// The shell script went to the project's folder: a relative path is meant from where the user is.
const dir = values.dir === undefined
  ? join(cacheDir, "kafka-cluster")
  : resolve(process.env.CALLER_DIR ?? ".", values.dir);
switch (positionals[0]) {
  case "start":
    await start();
    break;
  case "status":
    status();
    break;
  case "token":
    token();
    break;
  case "stop":
    console.log(
      await stopCluster(dir) ? `Stopped the cluster and removed its files in ${dir}` : `No cluster in ${dir}`,
    );
    break;
  default:
    usageError(positionals.length === 0 ? "Name a command" : `Unknown command "${positionals[0]}"`);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        "brokers": { type: "string", default: "1" },
        "security": { type: "string", default: "plaintext" },
        "acl": { type: "boolean", default: false },
        "set": { type: "string", multiple: true, default: [] },
        "heap-mb": { type: "string", default: "512" },
        "dir": { type: "string" },
        "user": { type: "string", default: "admin" },
        "seconds": { type: "string", default: "3600" },
        "help": { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    usageError((error as Error).message);
  }
}

function usageError(message: string): never {
  console.error(`Error: ${message}\n\n${USAGE}`);
  process.exit(2);
}

async function start(): Promise<void> {
  const brokers = wholeNumber("--brokers", values.brokers, BROKERS_MAX);
  const { security } = values;
  if (security !== "plaintext" && security !== "sasl_ssl") {
    usageError(`Unknown security "${security}": it is plaintext or sasl_ssl`);
  }
  const cluster = await startCluster({
    brokers,
    security,
    acl: values.acl,
    settings: readSettings(values.set),
    heapMb: wholeNumber("--heap-mb", values["heap-mb"], 65_536),
    dir,
    detached: true,
    progress: (message) => console.error(message),
  }).catch((error: Error) => {
    console.error(`Error: ${error.message}`);
    process.exit(1);
  });
  describe(cluster);
  const dirOption = values.dir === undefined ? "" : ` --dir ${values.dir}`;
  console.log(
    `\nLogs:       ${join(dir, "broker-*", "server.log")}\nStop it by: scripts/kafka stop${dirOption}`,
  );
}

function wholeNumber(name: string, text: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max) {
    usageError(`${name} is a whole number from 1 to ${max}, not "${text}"`);
  }
  return value;
}

function readSettings(pairs: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1) usageError(`--set takes KEY=VALUE, not "${pair}"`);
    settings[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return settings;
}

function describe(cluster: Pick<Cluster | ClusterState, "listeners" | "certificates">): void {
  for (const [name, servers] of Object.entries(cluster.listeners)) {
    console.log(`${`${name}:`.padEnd(16)} ${servers}`);
  }
  if (cluster.certificates === null) return;
  const users = KAFKA_USERS.map((user) => `${user.username} / ${user.password}`).join(", ");
  console.log("OAUTHBEARER:     scripts/kafka token");
  console.log(`\nUsers (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512): ${users}`);
  for (const [name, value] of Object.entries(cluster.certificates)) {
    console.log(`${name.padEnd(22)} ${value}`);
  }
}

function token(): void {
  const certificates = readCluster(dir)?.certificates ?? null;
  if (certificates === null) {
    console.error(`Error: No cluster with --security sasl_ssl in ${dir}`);
    process.exit(1);
  }
  const lifeSeconds = wholeNumber("--seconds", values.seconds, 31_536_000);
  console.log(makeToken(certificates.tokenKey, { sub: values.user, lifeSeconds }));
}

function status(): void {
  const state = readCluster(dir);
  if (state === null) {
    console.log(`No cluster in ${dir}`);
    process.exit(1);
  }
  const running = runningBrokers(state);
  for (const broker of state.brokers) {
    const pid = running.includes(broker) ? `running, pid ${broker.process!.pid}` : "not running";
    console.log(`broker ${broker.id}: ${pid}, port ${broker.ports.PLAINTEXT}`);
  }
  describe(state);
  if (running.length < state.brokers.length) process.exit(1);
}
