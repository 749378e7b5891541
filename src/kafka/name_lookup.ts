import { lookup, lookupService } from "node:dns/promises";
import { KafkaError } from "./errors.ts";

/** Questions that wait, of all sinks together. Each name is one, however many ask for it. */
const QUESTIONS_MAX = 10_000;
/** An answer that takes longer than this may find nobody who still waits for it. */
const LATE_MS = 1_000;
/** For so long such an answer is kept for the next one who asks. */
const KEPT_MS = 30_000;

interface Kept {
  readonly answer: unknown;
  readonly untilMs: number;
}

/**
 * Asks the system for names, one at a time. A lookup holds a thread of the runtime's pool until the resolver gives up, which takes half a minute and
 * more where a name server does not answer, and the pool may have no more than two: without this, brokers whose names cannot be resolved would
 * hold up reading files, for the sinks too that need no names.
 *
 * Who asks may give up earlier (`withDeadline`). The question stays, so that asking again joins it, and what comes too late is there for the next try:
 * else a name behind one that is not answered would never have its turn.
 */
export class NameLookup {
  readonly #monotonicMs: () => number;
  /** Waiting or under way. */
  readonly #asked = new Map<string, Promise<unknown>>();
  readonly #kept = new Map<string, Kept>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(monotonicMs: () => number = () => performance.now()) {
    this.#monotonicMs = monotonicMs;
  }

  /** Addresses of a name in the system's order, which may be none. Rejects with the system's error: ENOTFOUND, EAI_AGAIN, ... */
  addresses(host: string, look = lookupAll): Promise<readonly string[]> {
    return this.#ask(`addresses ${host}`, () => look(host));
  }

  /** The canonical name of an address. Rejects with the system's error where it has none. */
  nameOf(address: string, port: number, look = lookupService): Promise<string> {
    return this.#ask(`name ${address}`, async () => (await look(address, port)).hostname);
  }

  async #ask<T>(question: string, look: () => Promise<T>): Promise<T> {
    const kept = this.#kept.get(question);
    this.#kept.delete(question);
    if (kept !== undefined && kept.untilMs > this.#monotonicMs()) return kept.answer as T;
    const known = this.#asked.get(question);
    if (known !== undefined) return await known as T;
    if (this.#asked.size >= QUESTIONS_MAX) {
      throw new KafkaError("EAI_AGAIN", `${QUESTIONS_MAX} names wait for the name server`);
    }
    const askedMs = this.#monotonicMs();
    const answer = this.#last.then(look);
    this.#asked.set(question, answer);
    this.#last = answer.then((found) => this.#keep(question, found, askedMs), () => {}).finally(() =>
      this.#asked.delete(question)
    );
    return await answer;
  }

  #keep(question: string, answer: unknown, askedMs: number): void {
    const nowMs = this.#monotonicMs();
    for (const [each, { untilMs }] of this.#kept) if (untilMs <= nowMs) this.#kept.delete(each);
    if (nowMs - askedMs < LATE_MS || this.#kept.size >= QUESTIONS_MAX) return;
    this.#kept.set(question, { answer, untilMs: nowMs + KEPT_MS });
  }
}

async function lookupAll(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** One for the process, as there is one thread pool. */
export const processNameLookup = new NameLookup();
