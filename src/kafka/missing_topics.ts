import type { Membership } from "../batch/membership.ts";
import type { Log } from "../telemetry/log.ts";

/** Topics that were given up and are asked for all the same, in case that somebody creates them. Of more the first ones are forgotten. */
export const GIVEN_UP_TOPICS_MAX = 1_000;

/** Of drops, and of dead letters. */
export const TOPIC_MISSING = "topic_missing";

export interface MissingTopicsOptions {
  /** How long events wait for a topic; null: for ever. */
  readonly timeoutMs: number | null;
  readonly log: Log;
  readonly monotonic: () => number;
  /** Events of it wait no longer, now and until it is there: they are given to `drop`, or become dead letters. */
  readonly giveUp: (topic: string) => void;
  /** Counts and settles events that are in no batch, and of which nothing is in the journal. */
  readonly dropEvents: (members: Membership, reason: string) => void;
  /** Nobody asks for it any more; its next event waits for it anew. */
  readonly forget: (topic: string) => void;
}

/** What becomes of events whose topic is not there and is not created: they wait, or are dropped after a time. */
export class MissingTopics {
  readonly #options: MissingTopicsOptions;
  /** When the cluster first said that there is none. */
  readonly #sinceMs = new Map<string, number>();
  readonly #givenUp = new Set<string>();

  constructor(options: MissingTopicsOptions) {
    this.#options = options;
  }

  /** The cluster says (again) that it has no such topic. */
  missing(topic: string): void {
    const { timeoutMs, monotonic, giveUp } = this.#options;
    if (timeoutMs === null || this.#givenUp.has(topic)) return;
    const nowMs = monotonic();
    const sinceMs = this.#sinceMs.get(topic);
    if (sinceMs === undefined) this.#sinceMs.set(topic, nowMs);
    if (nowMs - (sinceMs ?? nowMs) < timeoutMs) return;
    this.#sinceMs.delete(topic);
    this.#givenUp.add(topic);
    this.#forgetFirst();
    giveUp(topic);
  }

  /** The topic is there. */
  known(topic: string): void {
    this.#sinceMs.delete(topic);
    this.#givenUp.delete(topic);
  }

  /** Drops and counts events of a topic that was given up. Nothing of them is in the journal. */
  drop(topic: string, members: Membership): void {
    const { log, timeoutMs, dropEvents } = this.#options;
    log.error(
      `Cannot deliver ${members.count} event(s): the cluster has had no topic "${topic}" for ${timeoutMs} ms; dropped and counted`,
      { topic, reason: TOPIC_MISSING, hint: "create the topic, or set topics_autocreate = true" },
    );
    dropEvents(members, TOPIC_MISSING);
  }

  #forgetFirst(): void {
    if (this.#givenUp.size <= GIVEN_UP_TOPICS_MAX) return;
    for (const topic of this.#givenUp) {
      this.#givenUp.delete(topic);
      this.#options.forget(topic);
      return;
    }
  }
}
