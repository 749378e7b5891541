import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Certificates } from "./kafka_certificates.ts";
import type { ListenerName, ListenerPorts } from "./kafka_properties.ts";
import { isRunning, pidScope, type ProcessIdentity, signalProcess } from "./process_identity.ts";

/** What cluster.json holds. */
export interface ClusterState {
  readonly clusterId: string;
  /** The process with which the brokers live and die; null when they were detached. */
  readonly owner: ProcessIdentity | null;
  /** The machine, boot and container whose pids these are. */
  readonly scope: string;
  readonly listeners: Readonly<Partial<Record<ListenerName, string>>>;
  readonly certificates: Certificates | null;
  readonly brokers: readonly BrokerState[];
}

export interface BrokerState {
  readonly id: number;
  readonly ports: ListenerPorts;
  /** Under which PROXIED is advertised. */
  readonly advertisedPort: number | null;
  /** Null while it does not run. */
  readonly process: ProcessIdentity | null;
}

const EXIT_TIMEOUT_MS = 10_000;
const POLL_MS = 20;

/** Writes the state aside and renames it, so that a reader sees the old or the new one. */
export function writeState(path: string, state: Omit<ClusterState, "scope">): void {
  const aside = `${path}.new`;
  writeFileSync(aside, JSON.stringify({ ...state, scope: pidScope() }, null, 2) + "\n", { mode: 0o600 });
  renameSync(aside, path);
}

/** The state in a file, or null when there is none. */
export function readState(path: string): ClusterState | null {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) as ClusterState : null;
}

/** True when the pids in this state belong to this machine, boot and container. */
export function isOfThisScope(state: ClusterState): boolean {
  return state.scope === pidScope();
}

/** The brokers of a state that are running now. */
export function runningBrokers(state: ClusterState): BrokerState[] {
  if (!isOfThisScope(state)) return [];
  return state.brokers.filter((broker) => broker.process !== null && isRunning(broker.process));
}

/** Kills every broker of a state and waits until they are gone. */
export async function stopRecorded(state: ClusterState): Promise<void> {
  const deadlineMs = Date.now() + EXIT_TIMEOUT_MS;
  for (const broker of runningBrokers(state)) signalProcess(broker.process!, "SIGKILL");
  for (let left = runningBrokers(state); left.length > 0; left = runningBrokers(state)) {
    if (Date.now() > deadlineMs) {
      throw new Error(`Cannot kill the broker with pid ${left[0]!.process!.pid}: it is still there`);
    }
    await Bun.sleep(POLL_MS);
  }
}
