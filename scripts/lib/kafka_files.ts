import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheDir, projectDir } from "./project.ts";
import { runCommand, withRetries } from "./run_command.ts";

/** Where the jars of Apache Kafka are on this machine. */
export interface KafkaFiles {
  readonly version: string;
  /** For `java -cp`. */
  readonly classpath: string;
  readonly log4jConfig: string;
}

const POM_DIR = join(projectDir, "scripts", "kafka-pom");
const DOWNLOAD_ATTEMPTS_MAX = 4;

/** The Kafka version that the pom pins. */
export function kafkaVersion(): string {
  const version = /<kafka\.version>([\d.]+)<\/kafka\.version>/.exec(
    readFileSync(join(POM_DIR, "pom.xml"), "utf8"),
  )?.[1];
  if (version === undefined) throw new Error('Cannot find <kafka.version> in "scripts/kafka-pom/pom.xml"');
  return version;
}

/** The version of brokers: what SHIPPER_KAFKA_VERSION names (`scripts/compat` sets it), else the pom's. */
export function brokerVersion(): string {
  const wanted = process.env.SHIPPER_KAFKA_VERSION;
  if (wanted === undefined) return kafkaVersion();
  if (!/^\d+\.\d+\.\d+$/.test(wanted)) {
    throw new Error(`Cannot use SHIPPER_KAFKA_VERSION "${wanted}": a version is like "3.9.1"`);
  }
  return wanted;
}

/**
 * Gets Kafka's jars by Maven into the project's cache, once for each version. `progress` is told before a download starts. Rejects with
 * Maven's last words when it fails several times.
 */
export async function ensureKafka(
  progress: (message: string) => void = () => {},
  version = kafkaVersion(),
): Promise<KafkaFiles> {
  const libsDir = kafkaDir(version);
  if (!existsSync(libsDir)) {
    progress(`Getting Apache Kafka ${version} with Maven`);
    // Aside, then renamed: a folder with the final name is complete, also when two processes do this at once.
    const partDir = `${libsDir}.part-${process.pid}`;
    mkdirSync(partDir, { recursive: true });
    try {
      await withRetries(DOWNLOAD_ATTEMPTS_MAX, () => download(partDir, version));
      if (!existsSync(libsDir)) renameSync(partDir, libsDir);
    } finally {
      rmSync(partDir, { recursive: true, force: true });
    }
  }
  return { version, classpath: join(libsDir, "*"), log4jConfig: join(POM_DIR, "log4j2.properties") };
}

/** Where the jars of a version are, or would be. */
export function kafkaDir(version: string): string {
  return join(cacheDir, `kafka-${version}`);
}

async function download(outputDir: string, version: string): Promise<void> {
  const isPinned = version === kafkaVersion();
  await runCommand("mvn", [
    "--batch-mode",
    "--quiet",
    "-Dstyle.color=never",
    "-f",
    join(POM_DIR, isPinned ? "pom.xml" : "broker.xml"),
    `-Dkafka.version=${version}`,
    "dependency:copy-dependencies",
    "-DincludeScope=runtime",
    `-DoutputDirectory=${outputDir}`,
  ]);
}

/** Arguments of `java` in front of a main class of Kafka's. `kind` "tool": starts fast; "broker": runs long. */
export function javaArguments(
  files: KafkaFiles,
  kind: "tool" | "broker",
  tempDir: string,
  heapMb = 512,
  more: readonly string[] = [],
): string[] {
  const speed = kind === "tool"
    ? ["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dshipper.kafka.log=WARN"]
    : [];
  return [
    `-Xmx${heapMb}m`,
    "-XX:+UseSerialGC",
    ...speed,
    ...more,
    `-Djava.io.tmpdir=${tempDir}`,
    `-Dlog4j2.configurationFile=${files.log4jConfig}`,
    "-cp",
    files.classpath,
  ];
}
