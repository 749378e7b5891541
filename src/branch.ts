import type { DiskBuffer } from "./buffer/disk_buffer.ts";
import type { EventBuffer } from "./buffer/event_buffer.ts";
import type { PositionStore } from "./checkpoint/position_store.ts";
import type {
  DecodingConfig,
  EncodingConfig,
  HeaderConfig,
  SinkConfig,
  TopicPolicyConfig,
} from "./config/config.ts";
import type { SinkLetters } from "./dead_letter_files.ts";
import type { GapMarkers } from "./gap_markers.ts";
import type { SinkJournal } from "./journal/sink_journal.ts";
import type { LettersOfLanes } from "./lane_letters.ts";
import type { LaneOptions } from "./lane.ts";
import type { Sink } from "./sink/sink.ts";
import type { SourceMetrics } from "./telemetry/metrics.ts";

/** A sink with what is in front of it. */
export interface Branch {
  readonly config: SinkConfig;
  readonly sink: Sink;
  readonly buffer: EventBuffer;
  /** What the buffer has on disk, or an earlier configuration has left there; null: nothing. */
  readonly diskBuffer: DiskBuffer | null;
  /** Null where it writes none. */
  readonly intents: SinkJournal | null;
  /** What of its lanes waits to be kept as dead letters. */
  readonly letters: LettersOfLanes;
  /** The file that it keeps dead letters in; null: none. */
  readonly deadLetters: SinkLetters | null;
  readonly hasIntents: () => boolean;
  /** Where it is in every stream: the journal's, or, where it stores them in Kafka, its own. */
  readonly positions: PositionStore;
  /** Its own positions were read; false: it ended before. Null: there is nothing to wait for. */
  readonly started: Promise<boolean> | null;
  /** What became of batches of earlier runs is not known yet. */
  readonly isRecovering: () => boolean;
  /** Null where nobody asked for them. */
  readonly gapMarkers: GapMarkers | null;
}

/** Where the lines of a lane come from. */
export interface LaneSource {
  readonly name: string;
  readonly maxLineBytes: number;
  readonly decoding: DecodingConfig;
  readonly metrics: SourceMetrics;
}

/** What becomes of them. */
export interface LaneShape extends Pick<LaneOptions, "whenFull"> {
  readonly isAlone: boolean;
  readonly encoding: EncodingConfig;
  readonly keyField: string | null;
  readonly key: string | null;
  readonly partitionField: string | null;
  readonly headers: readonly HeaderConfig[];
  readonly timestampSource: "ship" | "event";
  readonly topic: string;
  readonly topicPolicy: TopicPolicyConfig | undefined;
}

/** What the records of a sink's events are made of. */
export type RecordShape = Omit<LaneShape, "isAlone" | "whenFull">;

export function recordShapeOf(sink: SinkConfig): RecordShape {
  const { encoding } = sink;
  if (sink.type !== "kafka") return { ...BARE_RECORD, encoding, topic: "" };
  const { keyField, key, partitionField, headers, timestampSource, topic, topicPolicy } = sink;
  return { encoding, keyField, key, partitionField, headers, timestampSource, topic, topicPolicy };
}

/** Nothing stands around the value. */
export const BARE_RECORD = {
  keyField: null,
  key: null,
  partitionField: null,
  headers: [],
  timestampSource: "ship",
  topicPolicy: undefined,
} as const;
