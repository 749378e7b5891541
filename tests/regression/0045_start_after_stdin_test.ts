// With stdin alone nothing had the journal store up to which event of a disk buffer positions tell everything, so that a start read all of the buffer:
// 5 s for 3 GB.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, SINK } from "../buffer/buffer_bench.ts";

test("the journal knows within seconds what stdin has put into a disk buffer", async () => {
  const disks = new BufferDisks();
  const bench = await BufferBench.open(disks);
  // What opening it has stored is done by then.
  await Bun.sleep(1_300);
  const stream = { id: "stdin:1", source: "in", sourceType: "stdin", path: "" } as const;
  expect(bench.pipe(stream, 0, Buffer.from("one\ntwo\n"))).toBe(8);
  const { buffers } = bench.journal.positions;
  const ledger = buffers.buffersOf(SINK)[0]!.ledger;
  for (let i = 0; i < 100 && buffers.storedEvent(ledger) < 2; i++) await Bun.sleep(50);
  expect(buffers.storedEvent(ledger)).toBe(2);
  await bench.close();
});
