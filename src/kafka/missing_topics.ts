import type { Membership } from "../batch/membership.ts";
import { countOf } from "../telemetry/format.ts";
import type { Log } from "../telemetry/log.ts";

/** Topics that were given up and are asked for all the same, in case that somebody creates them. Of more the first ones are forgotten. */
export const GIVEN_UP_TOPICS_MAX = 1_000;

/** Of drops, and of dead letters. */
export const TOPIC_MISSING = "topic_missing";

export interface MissingTopicsOptions {
  /** How long events wait for a topic; null: for ever. */
  readonly timeoutMs: number | null;
  /** The cluster has to say for so long that there is none before what may have been written to it counts as gone with it. */
  readonly certainMs: number;
  readonly log: Log;
  readonly monotonic: () => number;
  /** Events of it wait no longer, now and until it is there: they are given to `drop`, or become dead letters. */
  readonly giveUp: (topic: string) => void;
  /** Counts and settles events that are in no batch, and of which nothing is in the journal. */
  readonly dropEvents: (members: Membership, reason: string) => void;
  /** Nobody asks for it any more; its next event waits for it anew. */
  readonly forget: (topic: string) => void;
}

interface MissingTopic {
  /** When the cluster first said that there is none. */
  readonly sinceMs: number;
  isGone: boolean;
  /** Events that were given up although they may have been written before it was deleted. */
  doubtfulCount: number;
}

/** What becomes of events whose topic is not there and is not created, or was deleted: they wait, or are dropped after a time. */
export class MissingTopics {
  readonly #options: MissingTopicsOptions;
  readonly #missing = new Map<string, MissingTopic>();
  /** The first one was given up first. */
  readonly #givenUp = new Set<string>();

  constructor(options: MissingTopicsOptions) {
    this.#options = options;
  }

  get hasGivenUp(): boolean {
    return this.#givenUp.size > 0;
  }

  isGivenUp(topic: string): boolean {
    return this.#givenUp.has(topic);
  }

  /** It was given up, and nothing that was sent to it is anywhere any more: a broker that lags behind would have heard of it by now. */
  isGone(topic: string): boolean {
    return this.#missing.get(topic)?.isGone ?? false;
  }

  /** The cluster says (again) that it has no such topic. */
  missing(topic: string): void {
    const { timeoutMs, certainMs, monotonic, giveUp } = this.#options;
    if (timeoutMs === null) return;
    const nowMs = monotonic();
    let known = this.#missing.get(topic);
    if (known === undefined) {
      known = { sinceMs: nowMs, isGone: false, doubtfulCount: 0 };
      this.#missing.set(topic, known);
    }
    const sinceMs = nowMs - known.sinceMs;
    known.isGone = sinceMs >= Math.max(timeoutMs, certainMs);
    if (sinceMs < timeoutMs || this.#givenUp.has(topic)) return;
    this.#givenUp.add(topic);
    this.#forgetFirst();
    giveUp(topic);
  }

  /** The topic is there. `isSame`: certainly the one that was there before. */
  known(topic: string, isSame: boolean): void {
    const doubtfulCount = this.#missing.get(topic)?.doubtfulCount ?? 0;
    this.#missing.delete(topic);
    this.#givenUp.delete(topic);
    if (!isSame || doubtfulCount === 0) return;
    this.#options.log.error(
      `Topic "${topic}" was not deleted, although the brokers said for a time that there is none: up to ${
        countOf(doubtfulCount, "event")
      } that were given ` +
        `up meanwhile may be in it`,
      { topic, reason: TOPIC_MISSING },
    );
  }

  /** Events in batches are given up: `isDoubtful`, although they may have been written before it was deleted. */
  givenUp(topic: string, count: number, isDoubtful: boolean): void {
    const known = this.#missing.get(topic);
    if (known !== undefined && isDoubtful) known.doubtfulCount += count;
  }

  /** Drops and counts events of a topic that was given up. Nothing of them is in the journal. */
  drop(topic: string, members: Membership): void {
    this.tellDropped(topic, members.count, 0);
    this.#options.dropEvents(members, TOPIC_MISSING);
  }

  /** `doubtfulCount` of the events may have been written before the topic was deleted. */
  tellDropped(topic: string, count: number, doubtfulCount: number): void {
    const { log, timeoutMs } = this.#options;
    const doubt = doubtfulCount === 0
      ? ""
      : `; ${doubtfulCount} of them may have been written to it before it was deleted, and are gone with it then`;
    log.error(
      `Cannot deliver ${
        countOf(count, "event")
      }: the cluster has had no topic "${topic}" for ${timeoutMs} ms; dropped and counted${doubt}`,
      { topic, reason: TOPIC_MISSING, hint: "create the topic, or set topics_autocreate = true" },
    );
  }

  #forgetFirst(): void {
    if (this.#givenUp.size <= GIVEN_UP_TOPICS_MAX) return;
    for (const topic of this.#givenUp) {
      this.#givenUp.delete(topic);
      this.#missing.delete(topic);
      this.#options.forget(topic);
      return;
    }
  }
}
