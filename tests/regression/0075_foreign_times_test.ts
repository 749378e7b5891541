import { expect, test } from "bun:test";
import { decodeDescribeProducersResponse } from "../../src/kafka/protocol/describe_producers.ts";
import { WireWriter } from "../../src/kafka/protocol/wire.ts";

// A partition to which somebody else wrote records with times in nanoseconds (Kafka before 4.0 takes any) stood still after a crash: the leader's
// list of producers was taken for damaged because of the one time in it, and what became of the batch in doubt was asked for ever.

const OURS = 17n;

/** An answer for partition 0 with two producers, the first of which has this time. */
function answerWith(foreignTime: bigint): Buffer {
  const writer = new WireWriter(true);
  writer.int32(0).arrayLength(1).string("logs").arrayLength(1).int32(0).int16(0).string(null).arrayLength(2);
  for (const [id, time, sequence] of [[16n, foreignTime, 3], [OURS, 1_700_000_000_123n, 41]] as const) {
    const [idBytes, timeBytes] = [Buffer.alloc(8), Buffer.alloc(8)];
    idBytes.writeBigInt64BE(id);
    timeBytes.writeBigInt64BE(time);
    writer.raw(idBytes).int32(0).int32(sequence).raw(timeBytes).int32(-1).int64(-1).tags();
  }
  return Buffer.from(writer.tags().tags().tags().slice());
}

test("what another producer wrote as its time does not hide what the leader knows of ours", () => {
  for (const time of [1_700_000_000_123_456_789n, 2n ** 63n - 1n, -(2n ** 63n), -1n]) {
    const { partitions } = decodeDescribeProducersResponse(answerWith(time));
    const [foreign, own] = partitions[0]!.producers;
    expect(foreign!.lastTimestampMs).toBe(Number(time));
    expect(own!.producerId.readBigInt64BE(0)).toBe(OURS);
    expect(own).toMatchObject({ producerEpoch: 0, lastSequence: 41, lastTimestampMs: 1_700_000_000_123 });
  }
});
