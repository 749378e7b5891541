import type { EncodingConfig } from "../config/config.ts";
import type { EventBatch } from "../event/event_batch.ts";
import type { LineBatch } from "../event/line_batch.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import type { EventFieldsMaker } from "./event_fields.ts";
import type { FieldFilter } from "./fields.ts";
import type { RecordPlan } from "./record_writer.ts";
import type { Fallback, RefusedLines, TopicNames } from "./topics.ts";

/** Makes events of the lines that one sink gets from one source. */
export interface Shaper {
  /**
   * Synchronous; the lines' arrays may be reused afterwards. The caller owns the batch's memory (`releaseBatch`); the chunk's owner is
   * retained as far as the batch needs it.
   */
  shape(lines: LineBatch): ShapeResult;
}

export interface ShapeResult {
  /** Null when no event is left (all dropped, or no lines): the caller lets the position pass the lines' `takenBytes` itself. */
  readonly batch: EventBatch | null;
  /** Lines that became no events because they have no topic, by reason; none as a rule. What becomes of them is the caller's to say. */
  readonly refused: readonly RefusedLines[];
  /** Events that have the fallback topic, by reason; they are in the batch. */
  readonly fallbacks: readonly Fallback[];
}

/** The options, compiled: what both kinds of shaper work with. */
export interface ShapePlan extends RecordPlan {
  readonly codec: EncodingConfig["codec"];
  readonly filter: FieldFilter | null;
  readonly topics: TopicNames;
  readonly eventFields: EventFieldsMaker;
  readonly metrics: SourceMetrics;
}

/** What no lines come to. */
export const NO_EVENTS: ShapeResult = { batch: null, refused: [], fallbacks: [] };
