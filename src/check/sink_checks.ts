import type { KafkaSinkConfig } from "../config/config.ts";
import type { BrokerConnection } from "../kafka/broker_connection.ts";
import { Cluster, parseServer } from "../kafka/cluster.ts";
import { clusterOptionsOf } from "../kafka/cluster_options.ts";
import { brokerName } from "../kafka/connection.ts";
import { KafkaError } from "../kafka/errors.ts";
import type { Log } from "../telemetry/log.ts";
import { checkBrokerClock } from "./broker_clock_check.ts";
import { checkBroker } from "./broker_checks.ts";
import { checkOwnCertificates } from "./certificate_checks.ts";
import { type CheckResult, found, passed, placeOf } from "./check_result.ts";
import { type ClusterView, viewCluster } from "./cluster_view.ts";
import { checkDeadLetterFile } from "./dead_letter_check.ts";
import { checkRights } from "./rights_checks.ts";
import { type Check, runCheck } from "./run_check.ts";
import { checkTopics } from "./topic_checks.ts";
import { condense } from "./template_checks.ts";
import { askSettings, checkLimits } from "./topic_settings.ts";
import { checkTransactionalId } from "./transaction_check.ts";

/** One broker: name, TCP, TLS, login, and what it speaks. */
export const BROKER_CHECK_MAX_MS = 30_000;
/** Finding out what the cluster is made of, and each thing that is asked of it then. */
export const CLUSTER_CHECK_MAX_MS = 30_000;
/** Reading the files of `tls`. */
const FILES_CHECK_MAX_MS = 10_000;
/** Brokers that are looked at; larger clusters have the rest left out, which is said. */
export const BROKERS_MAX = 100;

const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

export interface SinkCheckContext {
  readonly hostname: string;
  readonly now: () => number;
}

/** Checks one sink of type kafka. Connections are closed when this resolves. Never rejects. */
export async function checkKafkaSink(
  config: KafkaSinkConfig,
  context: SinkCheckContext,
): Promise<readonly CheckResult[]> {
  const { now } = context;
  const options = clusterOptionsOf(config, context.hostname, SILENT);
  const cluster = new Cluster(options);
  try {
    const files = runCheck({
      place: placeOf("tls.files", { sink: config.name }),
      timeoutMs: FILES_CHECK_MAX_MS,
      what: "read the files of tls",
      run: () => checkOwnCertificates(config, now()),
    });
    const servers = config.bootstrapServers.map(canonical);
    const clusterIds = new Map<string, string | null>();
    const bootstraps = servers.map((server) =>
      brokerCheck(config, server, now, () => openSeed(config, context, server, clusterIds))
    );
    const viewing = viewCluster(config, cluster).catch((error: unknown) => {
      if (error instanceof KafkaError) return null; // each bootstrap server's line says why
      throw error;
    });
    const view = await runCheckedView(viewing);
    const rest = view === null ? [] : await checkCluster(view, servers, now);
    const results = [checkDeadLetterFile(config), await files, ...await Promise.all(bootstraps)];
    return [
      ...results.flat(),
      ...sameCluster(config.name, servers, clusterIds),
      ...withoutView(config, view),
      ...rest,
    ];
  } finally {
    cluster.close();
  }
}

/** Null when nothing came of it in time. */
async function runCheckedView(viewing: Promise<ClusterView | null>): Promise<ClusterView | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), CLUSTER_CHECK_MAX_MS));
  return await Promise.race([viewing, late]).finally(() => clearTimeout(timer));
}

function withoutView({ name: sink }: KafkaSinkConfig, view: ClusterView | null): readonly CheckResult[] {
  if (view !== null) return [];
  const message = "Topics, rights and limits are not looked at: no broker tells them";
  return [found("skipped", placeOf("cluster", { sink }), "no-broker", message)];
}

async function checkCluster(
  view: ClusterView,
  servers: readonly string[],
  now: () => number,
): Promise<readonly CheckResult[]> {
  const { config, cluster, brokers } = view;
  const sink = config.name;
  const others = brokers.filter(({ host, port }) => !servers.includes(brokerName(host, port)));
  const looked = others.slice(0, BROKERS_MAX).map(({ id, host, port }) =>
    brokerCheck(config, brokerName(host, port), now, () => cluster.connectionTo(id))
  );
  const one = (check: string, what: string, run: Check["run"]) =>
    runCheck({ place: placeOf(check, { sink }), timeoutMs: CLUSTER_CHECK_MAX_MS, what, run });
  const settings = askSettings(view).catch((error: unknown) => {
    if (error instanceof KafkaError) return { settings: new Map(), refusals: new Map() };
    throw error;
  });
  const asked = [
    one("topic", "look at topics", async (signal) => checkTopics(view, (await settings).settings, signal)),
    one("topic.limits", "compare limits", async () => checkLimits(view, await settings)),
    one("rights", "find out about rights", () => Promise.resolve(checkRights(view))),
    ...(config.delivery === "transactional"
      ? [one("rights.transactional_id", "try the transactional id", () => checkTransactionalId(view))]
      : []),
    one("clock.broker", "ask for the brokers' time", () => checkBrokerClock(view, now)),
  ];
  const brokersFound = await Promise.all(looked);
  const results = [...brokersFound, condense(view, (await Promise.all(asked)).flat())];
  const more = others.length - BROKERS_MAX;
  return more > 0 ? [...results.flat(), leftOut(sink, more)] : results.flat();
}

function leftOut(sink: string, count: number): CheckResult {
  const message = `${count} more brokers are not looked at: ${BROKERS_MAX} are the most`;
  return found("skipped", placeOf("broker.connection", { sink }), "too-many", message);
}

function brokerCheck(
  config: KafkaSinkConfig,
  server: string,
  now: () => number,
  open: () => Promise<BrokerConnection>,
): Promise<readonly CheckResult[]> {
  return runCheck({
    place: placeOf("broker.connection", { sink: config.name, target: server }),
    timeoutMs: BROKER_CHECK_MAX_MS,
    what: `connect to broker "${server}"`,
    run: () => checkBroker(config, server, open, now),
  });
}

/** A connection to this bootstrap server and no other, and the id of the cluster that it belongs to. */
async function openSeed(
  config: KafkaSinkConfig,
  { hostname }: SinkCheckContext,
  server: string,
  clusterIds: Map<string, string | null>,
): Promise<BrokerConnection> {
  const seed = new Cluster({ ...clusterOptionsOf(config, hostname, SILENT), bootstrapServers: [server] });
  try {
    // What it needs of the connection is known by then: it is not used after this.
    const connection = await seed.ask((each) => Promise.resolve(each));
    await seed.refresh([], "check");
    clusterIds.set(server, seed.clusterId);
    return connection;
  } finally {
    seed.close();
  }
}

/** Two clusters behind one list would be used in turns. */
function sameCluster(
  sink: string,
  servers: readonly string[],
  ids: ReadonlyMap<string, string | null>,
): readonly CheckResult[] {
  const place = placeOf("cluster.id", { sink });
  const known = servers.map((each) => [each, ids.get(each) ?? null] as const).filter(([, id]) => id !== null);
  const distinct = [...new Set(known.map(([, id]) => id))];
  if (distinct.length === 0) return [];
  if (distinct.length === 1) return [passed(place, `The cluster is "${distinct[0]}"`)];
  const list = known.map(([server, id]) => `"${server}" belongs to "${id}"`).join(", ");
  return [
    found(
      "failed",
      place,
      "two-clusters",
      `bootstrap_servers lead to ${distinct.length} clusters: ${list}`,
      "Name brokers of one cluster alone",
    ),
  ];
}

/** The form in which metadata names a broker. */
function canonical(server: string): string {
  const { host, port } = parseServer(server);
  return brokerName(host, port);
}
