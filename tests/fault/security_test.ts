import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, writeFileSync } from "node:fs";
import type { Certificates } from "../../scripts/lib/kafka_certificates.ts";
import { freePorts } from "../../scripts/lib/ports.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { type Direction, type Proxy, startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { type Shipper, startShipper } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Certificates, names and bytes that go wrong while it ships: it says what, waits, and goes on without a restart. Every line once, in order.

const CLUSTER_TIMEOUT_MS = 120_000;
const CATCH_UP_MS = 30_000;
const canMount = process.getuid?.() === 0 && Bun.spawnSync(["unshare", "-m", "true"]).exitCode === 0;

let own: OwnCluster;
let files: Certificates;
beforeAll(async () => {
  const names = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].map((name) => `${name}:${name}`);
  const others = ["CONTROLLER:PLAINTEXT", "PROXIED:SSL", "SSL_EXPIRED:SSL", "SSL_OTHER_HOST:SSL"];
  own = await ownCluster({
    security: "sasl_ssl",
    advertisedPorts: await freePorts(1),
    settings: {
      // Behind the proxy a client has to show its certificate.
      "listener.security.protocol.map": [...names, ...others].join(","),
      "listener.name.proxied.ssl.client.auth": "required",
    },
  });
  files = own.kafka.certificates!;
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

/** Files of TLS that a test replaces, at first good ones. */
class TlsFolder {
  readonly ca: string;
  readonly crt: string;
  readonly key: string;

  constructor(dir: TempDir) {
    this.ca = dir.file("ca.crt");
    this.crt = dir.file("client.crt");
    this.key = dir.file("client.key");
    copyFileSync(files.ca, this.ca);
    copyFileSync(files.clientCert, this.crt);
    copyFileSync(files.clientKey, this.key);
  }

  get sink(): string {
    return `retry.max_interval_ms = 200
socket_timeout_ms = 1_000
request_timeout_ms = 500
connect_timeout_ms = 1_000
[sinks.out.tls]
enabled = true
ca_file = "${this.ca}"
crt_file = "${this.crt}"
key_file = "${this.key}"
`;
  }
}

async function finish(shipper: Shipper, load: SteadyLoad, topic: string, writers: readonly OracleWriter[]) {
  const count = load.stop();
  const isThere = async () => await own.kafka.countRecords(topic) >= count;
  await waitUntil(`${count} records are there`, isThere, { timeoutMs: CATCH_UP_MS });
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
  await expectExactly(own.kafka, topic, writers);
}

function proxied(): Promise<Proxy> {
  return startProxy(own.kafka.proxied!.targetPort, own.kafka.proxied!.listenPort);
}

test("a flipped bit anywhere in either direction under TLS: the connection is made again", async () => {
  await using dir = tempDir("tls-corrupt");
  await using proxy = await proxied();
  const topic = await own.kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((name) => new OracleWriter("tls-corrupt", name));
  const { sink } = new TlsFolder(dir);
  await using shipper = startShipper({
    config: filesToKafka(dir, { bootstrap: proxy.address, topic, sink }),
  });
  using load = new SteadyLoad(dir, writers, 3_000);
  await waitUntil("it ships", async () => await own.kafka.countRecords(topic) > 0);
  for (let round = 0; round < 16; round++) {
    const direction: Direction = round % 2 === 0 ? "request" : "response";
    proxy.setFault({ corrupt: { direction, at: round * 613 % 4_000 } });
    await Bun.sleep(150);
    proxy.heal();
    await Bun.sleep(150);
  }
  expect(proxy.connectionCount).toBeGreaterThan(4);
  await finish(shipper, load, topic, writers);
}, 120_000);

test("files of TLS that are replaced while it ships, by wrong ones and by good ones", async () => {
  await using dir = tempDir("tls-files");
  await using proxy = await proxied();
  const topic = await own.kafka.createTopic({ partitions: 2 });
  const writer = new OracleWriter("tls-files", "app.log");
  const tls = new TlsFolder(dir);
  copyFileSync(files.otherCa, tls.ca);
  writer.append(dir.file("app.log"), 200);
  await using shipper = startShipper({
    config: filesToKafka(dir, { bootstrap: proxy.address, topic, sink: tls.sink }),
  });
  using load = new SteadyLoad(dir, [writer], 500);
  await shipper.waitForLog(
    /its certificate is signed by a CA that is not trusted here .*Set tls\.ca_file to the CA/,
  );
  expect(await own.kafka.countRecords(topic)).toBe(0);
  copyFileSync(files.ca, tls.ca);
  await waitUntil("it ships", async () => await own.kafka.countRecords(topic) > 200);
  const wrongs: [string, string, string, RegExp][] = [
    [
      files.expiredCert,
      tls.crt,
      files.chainCert,
      /it refused the client's certificate \(CN=shipper-client\), which ended at/,
    ],
    [
      files.foreignCert,
      tls.crt,
      files.clientCert,
      /it refused the client's certificate \(CN=shipper-client\) \(|closed the connection/,
    ],
    [
      files.ca,
      tls.crt,
      files.clientCertDer,
      /the key in tls\.key_file .* does not belong to the first certificate/,
    ],
    [files.clientKeyEncrypted, tls.key, files.clientKeyDer, /is encrypted and tls\.key_pass is not set/],
    ["/dev/null", tls.key, files.clientKey, /tls\.key_file .* is empty/],
  ];
  for (const [wrong, path, good, said] of wrongs) {
    const seen = shipper.stderr.length;
    const isSaid = () => shipper.stderr.slice(seen).search(said) >= 0;
    if (wrong === "/dev/null") writeFileSync(path, "");
    else copyFileSync(wrong, path);
    // An open connection goes on with what it has.
    const before = await own.kafka.countRecords(topic);
    await waitUntil("it ships", async () => await own.kafka.countRecords(topic) > before);
    proxy.cut();
    await waitUntil(`${wrong} is refused: ${said}`, isSaid);
    copyFileSync(good, path);
    const count = await own.kafka.countRecords(topic);
    await waitUntil("it goes on", async () => await own.kafka.countRecords(topic) > count);
  }
  // Told once a day, not at every connection.
  const warnings = shipper.stderr.match(
    /The client's certificate of tls\.crt_file ended 1 day ago, at /g,
  );
  expect(warnings).toHaveLength(1);
  await finish(shipper, load, topic, [writer]);
}, 120_000);

testIf(
  canMount,
  "needs root",
  "a name that is not known at first, then leads nowhere, then to the brokers",
  async () => {
    await using dir = tempDir("names");
    const topic = await own.kafka.createTopic();
    const writer = new OracleWriter("names", "app.log");
    writer.append(dir.file("app.log"), 200);
    const hosts = dir.file("hosts");
    const known = "127.0.0.1 localhost\n";
    writeFileSync(hosts, known);
    const port = own.kafka.bootstrap.split(":")[1]!;
    const script = `mount --bind "${hosts}" /etc/hosts && exec "$@"`;
    await using shipper = startShipper({
      config: filesToKafka(dir, {
        bootstrap: `kafka.shipper-test.invalid:${port}`,
        topic,
        sink: "retry.max_interval_ms = 200",
      }),
      wrapper: ["unshare", "-m", "sh", "-c", script, "sh"],
    });
    using load = new SteadyLoad(dir, [writer], 500);
    await shipper.waitForLog(
      /the name \\"kafka\.shipper-test\.invalid\\" cannot be resolved \([A-Z_]+\)","hint":"Correct bootstrap_servers/,
    );
    // The same file, so that the mount shows it.
    writeFileSync(hosts, `${known}127.0.0.77 kafka.shipper-test.invalid\n`);
    await shipper.waitForLog(/nothing listens there \(ECONNREFUSED\)/);
    expect(await own.kafka.countRecords(topic)).toBe(0);
    writeFileSync(
      hosts,
      `${known}127.0.0.77 kafka.shipper-test.invalid\n127.0.0.1 kafka.shipper-test.invalid\n`,
    );
    await waitUntil("it ships", async () => await own.kafka.countRecords(topic) > 200);
    // The brokers' own addresses are used now.
    writeFileSync(hosts, known);
    const count = await own.kafka.countRecords(topic);
    await waitUntil("it goes on", async () => await own.kafka.countRecords(topic) > count);
    await finish(shipper, load, topic, [writer]);
  },
  120_000,
);
