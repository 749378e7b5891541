import { afterEach, describe, expect, test } from "bun:test";
import { ErrorCode } from "../../../src/kafka/protocol/error_codes.ts";
import { type ReplicationOptions, waitReplicated } from "../../../src/kafka/resolve/replication.ts";
import { cleanUp } from "../fake_cluster.ts";
import { doubtful } from "./batches.ts";
import { others, type Setup, start, two, write } from "./setup.ts";

afterEach(cleanUp);

describe("waitReplicated", () => {
  const waited = ({ cluster, log }: Setup, overrides: Partial<ReplicationOptions> = {}) =>
    waitReplicated({
      cluster,
      topic: "logs",
      partition: 0,
      topicId: null,
      offset: 7,
      leaderEpoch: 0,
      random: () => 0.5,
      log,
      signal: AbortSignal.timeout(10_000),
      ...overrides,
    });

  test("until the high watermark is there", async () => {
    const setup = await start();
    write(setup, ...two);
    setup.kafka.log().replicatedOffset = 6;
    const replicated = waited(setup);
    expect(await Promise.race([replicated, Bun.sleep(100).then(() => "waits")])).toBe("waits");
    setup.kafka.log().replicatedOffset = 7;
    expect(await replicated).toBe(true);
  });

  test("a new leader that has it, and one that was cut and grew again", async () => {
    const setup = await start(2);
    write(setup, ...two);
    const log = setup.kafka.log();
    log.replicatedOffset = 3;
    const waiting = waited(setup);
    await Bun.sleep(30);
    setup.kafka.moveLeader(2);
    await Bun.sleep(100);
    log.replicatedOffset = null;
    expect(await waiting).toBe(true);
    log.truncate(3);
    setup.kafka.moveLeader(1);
    write(setup, ...others, ...doubtful(5, [5], { producerIdLow: 8 }));
    expect(log.highWatermark).toBeGreaterThan(7);
    expect(await waited(setup)).toBe(false);
    expect(await waited(setup, { leaderEpoch: 1 })).toBe(false);
    expect(await waited(setup, { leaderEpoch: 2 })).toBe(true);
  });

  test("another topic of the name has not got it", async () => {
    const setup = await start();
    write(setup, ...two);
    const topicId = Buffer.alloc(16, "logs").toString("base64url");
    expect(await waited(setup, { topicId })).toBe(true);
    setup.kafka.makeAgain("logs", 1);
    write(setup, ...two);
    expect(await waited(setup, { topicId })).toBe(false);
  });

  test("refusals are passed, abort ends it, an unknown offset is a mistake", async () => {
    const setup = await start();
    write(setup, ...two);
    let count = 0;
    setup.kafka.inspection.refuse = () => count++ < 3 ? ErrorCode.NOT_LEADER_OR_FOLLOWER : 0;
    expect(await waited(setup)).toBe(true);
    setup.kafka.log().replicatedOffset = 0;
    const signal = AbortSignal.timeout(50);
    expect(await waited(setup, { signal }).catch((error: Error) => error)).toMatchObject({ code: "aborted" });
    expect(await waited(setup, { offset: -1 }).catch((error: Error) => error)).toBeInstanceOf(RangeError);
  });
});
