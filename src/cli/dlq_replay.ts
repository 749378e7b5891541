import type { KafkaSinkConfig } from "../config/config.ts";
import { lockFile } from "../checkpoint/data_dir_lock.ts";
import type { StoredLetter } from "../event/dead_letters.ts";
import { type BatchStatus, Delivery } from "../event/delivery.ts";
import { column } from "../event/event_batch.ts";
import { encodeHeaders } from "../event/record_headers.ts";
import { Cluster } from "../kafka/cluster.ts";
import { createCompressor } from "../kafka/compression.ts";
import { Producer } from "../kafka/producer.ts";
import { countOf } from "../telemetry/format.ts";
import { SinkMetrics } from "../telemetry/metrics.ts";
import type { ReplayLettersArgs } from "./dlq_args.ts";
import { allSecrets, type CommandContext, commandLog, withConfig } from "./command_context.ts";
import { type LetterPlace, letterPlaces, lettersOf } from "./dlq_letters.ts";
import { tellBad } from "./dlq_show.ts";

/** Acknowledged letters are marked together, this often. A replay that is killed repeats what it has not marked. */
const MARK_INTERVAL_MS = 200;
const EXIT_INCOMPLETE = 1;

/** What a replay did. */
export interface ReplayReport {
  readonly sink: string;
  /** Acknowledged, and marked. */
  readonly replayed: number;
  /** The brokers refused them again: they stay. */
  readonly refused: number;
  /** No topic is known for them; `--to` gives one. */
  readonly withoutTopic: number;
  /** They were replayed before. */
  readonly before: number;
}

/**
 * `shipper dlq replay`: sends the dead letters of a sink that were not replayed yet to their topics, or all to `--to`, by an idempotent producer with the
 * sink's settings of today. Each is marked when it is acknowledged. Works while a shipper runs. Returns the exit code: 1 when some are left.
 */
export async function replayLetters(args: ReplayLettersArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const [place] = letterPlaces(config, args.sink);
    place!.marks.open(lockFile);
    try {
      const report = await replay(place!, args.to, context);
      context.stdout(args.json ? `${JSON.stringify(reportJson(report), null, 2)}\n` : reportText(report));
      return report.refused + report.withoutTopic === 0 ? 0 : EXIT_INCOMPLETE;
    } finally {
      place!.marks.close();
    }
  }, allSecrets);
}

async function replay(place: LetterPlace, to: string | null, context: CommandContext): Promise<ReplayReport> {
  const { marks, sink } = place;
  let [replayed, refused, withoutTopic, before] = [0, 0, 0, 0];
  const acknowledged: string[] = [];
  let failure: unknown = null;
  const mark = () => {
    try {
      marks.add(acknowledged, context.now());
      replayed += acknowledged.length;
      acknowledged.length = 0;
    } catch (error) {
      failure ??= error;
    }
  };
  const timer = setInterval(mark, MARK_INTERVAL_MS);
  const connection = openProducer(sink, context);
  const { producer } = connection;
  try {
    const letters = lettersOf(place, commandLog(context), (where) => tellBad(place, where, context));
    for await (const { letter, isReplayed } of letters) {
      // What is sent now would be sent again by the next replay.
      if (failure !== null) break;
      const topic = to ?? letter.topic;
      if (isReplayed) before++;
      else if (topic === null) withoutTopic++;
      else {
        const delivery = deliveryOf(letter, topic, context.now(), (status) => {
          if (status === "delivered") acknowledged.push(letter.id);
          else refused++;
        });
        connection.metrics.inFlightEvents++;
        while (producer.append(delivery, 0) < 1) await producer.waitForRoom();
      }
    }
    await producer.flush();
    mark();
    if (failure !== null) {
      const unmarked = countOf(acknowledged.length, "dead letter");
      throw marks.unwritable(
        failure,
        `marked: ${replayed}, sent and not marked: ${unmarked}, the rest was not sent`,
      );
    }
  } finally {
    clearInterval(timer);
    connection.close();
  }
  return { sink: sink.name, replayed, refused, withoutTopic, before };
}

/** As the sink has it, but for what needs a journal: what is replayed is marked elsewhere. */
function openProducer(sink: KafkaSinkConfig, context: CommandContext) {
  const log = commandLog(context);
  const config: KafkaSinkConfig = {
    ...sink,
    delivery: "at_least_once",
    onTooLarge: "dead_letter",
    topicMissingTimeoutMs: null,
    messageTimeoutMs: 0,
    retryMaxAttempts: 0,
  };
  const cluster = new Cluster({ ...config, clientId: config.clientId ?? `shipper-replay-${sink.name}`, log });
  const compressor = createCompressor(config.compression, config.compressionLevel, log);
  const metrics = new SinkMetrics();
  const producer = new Producer({
    config,
    cluster,
    compressor,
    metrics,
    log,
    // What is refused again is a dead letter as it was: it is in its file.
    deadLetters: { put: (_letter, onSafe) => queueMicrotask(onSafe) },
    // Letters may be for any topic.
    hasTopicTemplate: true,
    now: context.now,
    random: Math.random,
  });
  const close = () => {
    producer.close();
    cluster.close();
    compressor.close();
  };
  return { producer, metrics, close };
}

function deliveryOf(
  letter: StoredLetter,
  topic: string,
  nowMs: number,
  onSettled: (status: BatchStatus) => void,
): Delivery {
  const { stream: { id, source, path }, offset, key, headers, value } = letter;
  const batch = {
    count: 1,
    values: column(value),
    keys: key === null ? null : column(key),
    headers: headers.length === 0 ? null : column(encodeHeaders(headers)),
    topics: [topic],
    topicIndexes: null,
    partitions: null,
    timestamps: null,
    receivedMs: nowMs,
    origin: {
      stream: { id, source, path, sourceType: path === "" ? "stdin" as const : "file" as const },
      startOffset: offset,
      endOffset: offset + value.length,
    },
    rawEnds: Uint32Array.of(value.length),
    rawEndsOwner: null,
    lineNumbers: null,
    byteSize: value.length + (key?.length ?? 0),
    pinnedBytes: value.length,
    owners: [],
  };
  return new Delivery(batch, onSettled);
}

function reportJson({ sink, replayed, refused, withoutTopic, before }: ReplayReport): object {
  return { sink, replayed, refused, without_topic: withoutTopic, replayed_before: before };
}

function reportText({ sink, replayed, refused, withoutTopic, before }: ReplayReport): string {
  const lines = [`Sink "${sink}": replayed ${countOf(replayed, "dead letter")}`];
  if (before > 0) lines.push(`${before} were replayed before`);
  if (refused > 0) lines.push(`${refused} were refused again, and stay: the messages above say why`);
  if (withoutTopic > 0) {
    lines.push(`${withoutTopic} have no topic, and stay: --to TOPIC sends them somewhere`);
  }
  return `${lines.join("\n")}\n`;
}
