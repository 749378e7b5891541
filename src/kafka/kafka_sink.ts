import type { EventBuffer } from "../buffer/event_buffer.ts";
import type { KafkaSinkConfig } from "../config/config.ts";
import type { DeadLetters } from "../event/dead_letters.ts";
import type { HealthFailure, Sink } from "../sink/sink.ts";
import { startFiguresLine } from "../telemetry/figures_line.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import { Cluster } from "./cluster.ts";
import { autocreateOf, CHECK_CUT_SHORT, diagnoseCluster } from "./cluster_health.ts";
import { DeadLetterTopic } from "./dead_letter_topic.ts";
import { clusterOptionsOf } from "./cluster_options.ts";
import { CertificateWatch } from "./tls/certificate_watch.ts";
import { type Compressor, createCompressor } from "./compression.ts";
import type { IntentLog } from "./intent_log.ts";
import { Producer } from "./producer.ts";
import type { TransactionPositions } from "./transaction/transaction_positions.ts";
import { TransactionalProducer } from "./transaction/transactional_producer.ts";

export interface KafkaSinkOptions {
  readonly config: KafkaSinkConfig;
  readonly hostname: string;
  /** The topic when it is the same for every event, null when it is a template. */
  readonly fixedTopic: string | null;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  readonly now: () => number;
  readonly random: () => number;
  /** Where intents are written; null: at least once, or in transactions. */
  readonly intents: IntentLog | null;
  /** The file for events that will never be taken; null: they go to a topic, or are dropped. */
  readonly deadLetters: DeadLetters | null;
  /** Where positions are kept that are stored in transactions; null: delivery is another one. */
  readonly transactionPositions: TransactionPositions | null;
}

/** What both kinds of producers have. */
type AnyProducer = Producer | TransactionalProducer;

/** Delivers to Apache Kafka: takes deliveries from the buffer, gives them to the producer, and ends when all are settled. */
export class KafkaSink implements Sink {
  readonly name: string;
  readonly #options: KafkaSinkOptions;
  readonly #cluster: Cluster;
  readonly #compressor: Compressor;
  #deadLetterTopic: DeadLetterTopic | null = null;
  /** Null without TLS. */
  readonly #certificates: CertificateWatch | null;
  #hasEnded = false;
  #producer: AnyProducer | null = null;
  /** Intents or transactions tell what is delivered; under at-least-once delivery the acknowledgements do. */
  hasIntents: boolean;
  readonly #started = Promise.withResolvers<boolean>();

  constructor(options: KafkaSinkOptions) {
    const { config, hostname, log } = options;
    this.name = config.name;
    this.hasIntents = options.intents !== null || options.transactionPositions !== null;
    this.#options = options;
    const certificates = this.#certificates = watchCertificates(options);
    this.#cluster = new Cluster({
      ...clusterOptionsOf(config, hostname, log),
      ...(certificates === null ? {} : { onCertificates: (seen) => certificates.note(seen) }),
    });
    this.#compressor = createCompressor(config.compression, config.compressionLevel, log);
  }

  /** Resolves when its positions were read from Kafka, with true; with false when it ends before. Only where it stores them there. */
  get started(): Promise<boolean> {
    return this.#started.promise;
  }

  /** Where events go that will never be taken; null: nowhere. */
  get deadLetters(): DeadLetters | null {
    const { config: { deadLetter }, deadLetters } = this.#options;
    if (deadLetter?.kind !== "topic") return deadLetters;
    const { topic } = deadLetter;
    const { config, metrics, log, now, random } = this.#options;
    const cluster = this.#cluster;
    return this.#deadLetterTopic ??= new DeadLetterTopic({
      config,
      topic,
      cluster,
      metrics,
      log,
      now,
      random,
    });
  }

  /** The same for lines that name no topic. */
  get lineLetters(): DeadLetters | null {
    return this.#options.config.onTemplateError === "dead_letter" ? this.deadLetters : null;
  }

  async checkHealth(signal: AbortSignal): Promise<HealthFailure | null> {
    const { config, fixedTopic } = this.#options;
    const topics = fixedTopic === null ? [] : [fixedTopic];
    if (config.deadLetter?.kind === "topic") topics.push(config.deadLetter.topic);
    const failure = await diagnoseCluster(
      this.#cluster,
      topics,
      { autocreate: autocreateOf(config) },
      signal,
    );
    // A short run may be over before the answer is there: its connections were closed here, which is nobody's failure.
    return this.#hasEnded && failure !== null ? CHECK_CUT_SHORT : failure;
  }

  /** What became of batches of earlier runs is not known yet: some of their events may be lost. */
  get isRecovering(): boolean {
    return this.#producer instanceof Producer && this.#producer.isRecovering;
  }

  async run(buffer: EventBuffer, kill: AbortSignal): Promise<void> {
    let failure: Error | null = null;
    const producer = this.#producer = this.#makeProducer((message) => {
      failure = new Error(message);
      // Nobody waits for what may never come.
      buffer.abandon();
    });
    const onKill = () => {
      producer.close();
      buffer.abandon();
    };
    kill.addEventListener("abort", onKill, { once: true });
    const { config: { metricsIntervalMs: intervalMs }, metrics, log } = this.#options;
    const figures = startFiguresLine({ sink: this.name, metrics, log, intervalMs });
    if (kill.aborted) onKill();
    try {
      await this.#pump(producer, buffer, kill);
      if (!kill.aborted) await producer.flush();
    } finally {
      kill.removeEventListener("abort", onKill);
      figures.stop();
      this.#hasEnded = true;
      this.#started.resolve(false);
      producer.close();
      this.#deadLetterTopic?.close();
      if (producer instanceof TransactionalProducer) await producer.abortOpen();
      buffer.abandon();
      this.#cluster.close();
      this.#certificates?.close();
      this.#compressor.close();
    }
    if (failure !== null) throw failure;
  }

  #makeProducer(onFatal: (message: string) => void): AnyProducer {
    const { config, hostname, fixedTopic, log, intents, transactionPositions: positions } = this.#options;
    const common = {
      ...this.#options,
      config,
      onFatal,
      cluster: this.#cluster,
      compressor: this.#compressor,
      hasTopicTemplate: fixedTopic === null,
      deadLetters: this.deadLetters,
    };
    if (positions !== null) {
      const onStarted = () => this.#started.resolve(true);
      return new TransactionalProducer({ ...common, hostname, fixedTopic, positions, onStarted });
    }
    return new Producer({
      ...common,
      intents,
      onDowngrade: (reason) => {
        this.hasIntents = false;
        log.warn(`Sink "${this.name}" delivers at least once, because ${reason}`);
      },
    });
  }

  async #pump(producer: AnyProducer, buffer: EventBuffer, kill: AbortSignal): Promise<void> {
    const { metrics } = this.#options;
    while (!kill.aborted && !producer.isClosed) {
      const delivery = buffer.read();
      if (delivery === null) {
        if (!(await buffer.waitForData())) return;
        continue;
      }
      const { count } = delivery.batch;
      metrics.inFlightEvents += count;
      if (producer.dropLate(delivery, 0)) continue;
      for (let next = producer.append(delivery, 0); next < count; next = producer.append(delivery, next)) {
        await producer.waitForRoom();
        if (producer.dropLate(delivery, next)) break;
        if (!kill.aborted && !producer.isClosed) continue;
        const left = delivery.untakenCount;
        delivery.take(left);
        delivery.settle(left, "errored");
        return;
      }
    }
  }
}

function watchCertificates({ config, metrics, log, now }: KafkaSinkOptions): CertificateWatch | null {
  const { name, tls } = config;
  if (tls === null) return null;
  return new CertificateWatch({
    name,
    log,
    now,
    show: (figures) => metrics.certificates = figures,
    reload: async () => (await (await import("./security.ts")).loadTls(tls)).certificates,
  });
}
