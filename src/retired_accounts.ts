import { type StreamAccount, Tally } from "./event/tally.ts";

/** What became of the events of sinks and buffers that are gone, while the run goes on: one sum for each source and sink. */
export class RetiredAccounts {
  readonly #sums = new Map<string, StreamAccount>();

  /** Nothing can happen to these any more, and who had them does not tell them any more. */
  add(accounts: Iterable<StreamAccount>): void {
    for (const { source, sink, tally } of accounts) {
      const key = `${source}\u0000${sink}`;
      let sum = this.#sums.get(key);
      if (sum === undefined) {
        sum = { source, sink, path: null, streamId: null, tally: new Tally() };
        this.#sums.set(key, sum);
      }
      sum.tally.add(tally);
    }
  }

  accounts(): Iterable<StreamAccount> {
    return this.#sums.values();
  }
}
