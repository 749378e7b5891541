import type { SinkConfig } from "./config/config.ts";
import type { Outlet } from "./event/chunk.ts";
import { type Gap, Gaps } from "./event/gaps.ts";
import { unpooled } from "./event/pooled_buffer.ts";
import { GAP_MARKER_SOURCE, type Stream } from "./event/stream.ts";
import { pause } from "./pause.ts";
import { countOf } from "./telemetry/format.ts";
import type { Log } from "./telemetry/log.ts";
import type { Metrics, SinkMetrics } from "./telemetry/metrics.ts";

/** While something is dropped or lost, it is told at most this often for each stream and cause. */
export const GAP_MARKER_INTERVAL_MS = 1_000;

/** No marker is longer: the longest path takes 4 KiB, and six times that where every character is escaped. */
export const MARKER_BYTES_MAX = 65_536;

/** Markers that are offered together. */
const MARKERS_AT_ONCE_MAX = 100;

/** At the end of a run, what is on its way may still be dropped: this often it is looked whether all has arrived. */
const DRAIN_POLL_MS = 20;
const POLLS_PER_INTERVAL = GAP_MARKER_INTERVAL_MS / DRAIN_POLL_MS;

/** From now on drops and losses are noted for the sinks that tell them. To be called before anything is opened that may find some. */
export function startNotingGaps(sinks: readonly SinkConfig[], metrics: Metrics, now: () => number): void {
  for (const sink of sinks) {
    if (markersTopic(sink) !== null) metrics.sink(sink.name).gaps ??= new Gaps(GAP_MARKER_SOURCE, now);
  }
}

/** Where a sink's markers go: "" where it knows no topics, null where it tells nothing. */
export function markersTopic(sink: SinkConfig): string | null {
  if (sink.type === "kafka") return sink.gapMarkersTopic;
  return sink.gapMarkers ? "" : null;
}

export interface GapMarkersOptions {
  readonly gaps: Gaps;
  /** The way to the sink's buffer, for lines that are shipped as they are. It waits when the buffer is full. */
  readonly outlet: Outlet;
  /** The sink does not know yet what became of batches of earlier runs. */
  readonly isRecovering: () => boolean;
  readonly hostname: string;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  readonly now: () => number;
}

/**
 * Tells downstream what was dropped or lost: one small record for each stream and cause, written to the sink's buffer once it has room, never
 * more often than `GAP_MARKER_INTERVAL_MS`. Markers are the lines of a stream of their own, whose source is `GAP_MARKER_SOURCE`: they are
 * in the account, and what is on its way in memory at a crash is gone.
 */
export class GapMarkers {
  readonly #options: GapMarkersOptions;
  readonly #stream: Stream;
  readonly #stop = new AbortController();
  /** Markers that the outlet has not taken yet, each with its newline. */
  #rest = Buffer.alloc(0);
  #restCount = 0;
  #offset = 0;

  constructor(options: GapMarkersOptions) {
    this.#options = options;
    const id = `gaps:${options.outlet.sink}:${crypto.randomUUID()}`;
    this.#stream = { id, source: GAP_MARKER_SOURCE, sourceType: "stdin", path: "" };
  }

  /** Tells what comes up until `finish` is called, or `kill` aborts. */
  async run(kill: AbortSignal): Promise<void> {
    const { gaps } = this.#options;
    const signal = AbortSignal.any([this.#stop.signal, kill]);
    while (!signal.aborted) {
      await gaps.waitForGap(signal);
      await pause(GAP_MARKER_INTERVAL_MS, signal);
      await this.#write(signal);
    }
  }

  /**
   * Tells what is left, and what is dropped of what is still on its way; to be called after the sources have ended and before the buffer does.
   * Ends early when `kill` aborts: then only a buffer on disk takes more. What could not be told is logged.
   */
  async finish(kill: AbortSignal): Promise<void> {
    const { gaps, metrics, log, outlet, isRecovering } = this.#options;
    this.#stop.abort();
    for (let poll = 1; !kill.aborted; poll++) {
      const isDrained = metrics.inFlightEvents + metrics.bufferedEvents === 0 && !isRecovering();
      if (isDrained && !this.#hasPending()) break;
      if (isDrained || poll % POLLS_PER_INTERVAL === 0) await this.#write(kill);
      await pause(DRAIN_POLL_MS, kill);
    }
    while (this.#hasPending() && outlet.hasRoom()) this.#offer();
    const count = metrics.undeliveredOf(GAP_MARKER_SOURCE) + this.#restCount + gaps.size;
    if (count === 0) return;
    const { sink } = outlet;
    log.warn(`${countOf(count, "gap marker")} of sink "${sink}" could not be delivered before the end`, {
      sink,
    });
  }

  #hasPending(): boolean {
    return this.#restCount + this.#options.gaps.size > 0;
  }

  async #write(signal: AbortSignal): Promise<void> {
    const { outlet } = this.#options;
    while (this.#hasPending() && !signal.aborted) {
      if (outlet.hasRoom()) this.#offer();
      else await outlet.waitForRoom(signal);
    }
  }

  /** Only while there is room. */
  #offer(): void {
    const { gaps, outlet, now } = this.#options;
    if (this.#restCount === 0) {
      const told = gaps.take(MARKERS_AT_ONCE_MAX);
      this.#rest = Buffer.from(told.map((gap) => this.#text(gap)).join(""));
      this.#restCount = told.length;
    }
    const data = this.#rest;
    const taken = outlet.offer({
      stream: this.#stream,
      offset: this.#offset,
      data,
      owner: unpooled(data),
      isFinal: true,
      receivedMs: now(),
    });
    if (taken <= 0) throw new Error("Cannot tell a gap: the outlet has room and takes nothing");
    this.#offset += taken;
    this.#restCount -= data.subarray(0, taken).toString().split("\n").length - 1;
    this.#rest = data.subarray(taken);
  }

  #text(gap: Gap): string {
    const { source, path, pipe, cause, events, bytes, fromOffset, toOffset, firstMs, lastMs } = gap;
    const text = JSON.stringify({
      shipper_gap: {
        ...(source === "" ? {} : { source }),
        ...(path === "" ? {} : { file: path }),
        ...(pipe === null ? {} : { stream: pipe }),
        cause,
        ...(events === 0 ? {} : { events }),
        ...(bytes === 0 ? {} : { bytes }),
        ...(fromOffset === null ? {} : { from_offset: fromOffset }),
        ...(toOffset === null ? {} : { to_offset: toOffset }),
        first: new Date(firstMs).toISOString(),
        last: new Date(lastMs).toISOString(),
        host: this.#options.hostname,
        sink: this.#options.outlet.sink,
      },
    });
    return `${text}\n`;
  }
}
