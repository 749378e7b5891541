import { describe, expect, test } from "bun:test";
import { endingOf, type LastTransaction } from "../../../src/kafka/transaction/hanging_transaction.ts";

const RUN = "00112233445566778899aabbccddeeff";
const EPOCH = 7;
const own = { run: RUN, committed: 3 };
const marker = (run: string, number: number) => ({ run, number, host: "here", partitions: [] });
const last = (ending: LastTransaction["ending"], epoch = EPOCH + 1, openEpoch = -1): LastTransaction => ({
  ending,
  epoch,
  openEpoch,
  producerId: Buffer.alloc(8),
});
const OTHER = "ff".repeat(16);

describe("how a transaction ended that nothing ends", () => {
  const cases = [
    ["no positions in it, whatever is said", null, last("commit"), "abort"],
    ["no positions in it, and nothing is said", null, null, "abort"],
    ["an own one whose commit was answered", marker(RUN, 3), last("abort"), "commit"],
    ["an own one, and a commit is said", marker(RUN, 4), last("commit"), "commit"],
    ["an own one, and an abort is said", marker(RUN, 4), last("abort", EPOCH + 5), "abort"],
    ["an own one, and nothing is said", marker(RUN, 4), null, null],
    ["another's, and a commit is said", marker(OTHER, 9), last("commit", EPOCH + 5), "commit"],
    ["another's, and the next epoch was aborted", marker(OTHER, 9), last("abort"), "abort"],
    ["another's, aborted after it was seen open", marker(OTHER, 9), last("abort", EPOCH + 2, EPOCH), "abort"],
    ["another's, and a later one was aborted", marker(OTHER, 9), last("abort", EPOCH + 3, EPOCH + 2), null],
    ["another's, and it is open now", marker(OTHER, 9), last(null, EPOCH, EPOCH), null],
    ["another's, and nothing is said", marker(OTHER, 9), null, null],
  ] as const;
  for (const [name, found, said, ending] of cases) {
    test(name, () => expect(endingOf(found, EPOCH, said, own)).toBe(ending));
  }
});
