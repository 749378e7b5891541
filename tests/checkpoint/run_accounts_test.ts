import { expect, test } from "bun:test";
import type { FileRecord } from "../../src/checkpoint/position_file.ts";
import { PositionStore } from "../../src/checkpoint/position_store.ts";
import type { Stream } from "../../src/event/stream.ts";

function record(id: string): FileRecord {
  const path = `/var/log/${id}.log`;
  return {
    source: "app",
    id,
    path,
    lastPath: path,
    dev: "1",
    ino: "2",
    birthtimeNs: "3",
    generation: 0,
    sinceNs: "3",
    fingerprintBytes: 4,
    fingerprint: "ab",
  };
}

const stream = (id: string): Stream => ({
  id,
  source: "app",
  sourceType: "file",
  path: `/var/log/${id}.log`,
});
const stdin: Stream = { id: "run 1", source: "in", sourceType: "stdin", path: "" };

function figures(store: PositionStore): [string | null, string, number][] {
  return [...store.accounts()].map(({ path, sink, tally }) => [path, sink, tally.readCount]);
}

test("the accounts of files and of stdin are those of their ledgers", () => {
  const store = new PositionStore({ writeLater: () => () => {} });
  store.put(record("a"));
  store.ledger(stream("a"), "events", 0).tally.readCount = 3;
  store.ledger(stream("a"), "copy", 0).tally.readCount = 2;
  store.ledger(stdin, "events", 0).tally.readCount = 5;
  expect(store.ledger(stdin, "events", 0).tally.readCount).toBe(5);
  expect(figures(store)).toEqual([
    ["/var/log/a.log", "events", 3],
    ["/var/log/a.log", "copy", 2],
    ["", "events", 5],
  ]);
});

test("a file that is forgotten keeps its figures in a sum, also while events of it are on their way", () => {
  const store = new PositionStore({ writeLater: () => () => {} });
  const tallies = ["a", "b"].map((id, i) => {
    store.put(record(id));
    const { tally } = store.ledger(stream(id), "events", 0);
    tally.readCount = 10 * (i + 1);
    tally.deliveredCount = tally.readCount - 1;
    tally.inFlightCount = i;
    tally.leftCount = 1 - i;
    store.forget("app", id);
    return tally;
  });
  expect(figures(store)).toEqual([[null, "events", 30]]);
  expect(store.forgottenTally("app", "events")).toMatchObject({
    readCount: 30,
    inFlightCount: 1,
    deliveredCount: 28,
  });
  // The last event of it comes back.
  tallies[1]!.inFlightCount--;
  tallies[1]!.deliveredCount++;
  expect(store.forgottenTally("app", "events")).toMatchObject({
    inFlightCount: 0,
    deliveredCount: 29,
    missingCount: 0,
  });
  expect(figures(store)).toEqual([[null, "events", 30]]);
  expect(store.forgottenTally("app", "copy").readCount).toBe(0);
  // The same file again is another stream.
  store.put(record("a"));
  expect(store.ledger(stream("a"), "events", 0).tally.readCount).toBe(0);
});
