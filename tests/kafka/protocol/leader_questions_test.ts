import { describe, expect, test } from "bun:test";
import { encodeDescribeBrokerConfigs } from "../../../src/kafka/protocol/describe_configs.ts";
import { decodeFetchResponse, encodeFetch } from "../../../src/kafka/protocol/fetch.ts";
import {
  decodeOffsetForLeaderEpochResponse,
  encodeOffsetForLeaderEpoch,
} from "../../../src/kafka/protocol/offset_for_leader_epoch.ts";
import { WireWriter } from "../../../src/kafka/protocol/wire.ts";

describe("questions to a leader", () => {
  test("DescribeConfigs of a broker goes by its id", () => {
    const v1 = "00000001" + "04" + "00023132" + "00000001" + "00016b" + "00";
    expect(Buffer.concat(encodeDescribeBrokerConfigs(12, ["k"], 1)).toString("hex")).toBe(v1);
  });

  test("Fetch", () => {
    const asked = { topic: "t", partition: 1, leaderEpoch: 6, offset: 99, sizeBytesMax: 4096, waitMs: 500 };
    const hex = (version: number) => Buffer.concat(encodeFetch(asked, version)).toString("hex");
    const limits = "ffffffff" + "000001f4" + "00000001" + "00001000" + "00";
    const place = "00000001" + "000174" + "00000001" + "00000001";
    const offset = "0000000000000063";
    const end = "00001000";
    expect(hex(4)).toBe(limits + place + offset + end);
    expect(hex(5)).toBe(limits + place + offset + "ff".repeat(8) + end);
    const noSession = "00000000" + "ffffffff";
    expect(hex(7)).toBe(limits + noSession + place + offset + "ff".repeat(8) + end + "00000000");
    expect(hex(10)).toBe(
      limits + noSession + place + "00000006" + offset + "ff".repeat(8) + end + "00000000",
    );
    for (const version of [4, 5, 7, 10]) {
      const writer = new WireWriter(false).int32(3);
      if (version >= 7) writer.int16(71).int32(0);
      writer.arrayLength(1).string("t").arrayLength(1).int32(1).int16(6).int64(120).int64(110);
      if (version >= 5) writer.int64(7);
      writer.arrayLength(1).raw(Buffer.alloc(8, 0xff)).int64(5).bytesLength(2).raw(Buffer.from("ab"));
      expect(decodeFetchResponse(writer.slice(), version)).toEqual({
        throttleMs: 3,
        errorCode: version >= 7 ? 71 : 0,
        partitions: [{
          topic: "t",
          partition: 1,
          errorCode: 6,
          highWatermark: 120,
          lastStableOffset: 110,
          aborted: [{ producerId: Buffer.alloc(8, 0xff), firstOffset: 5 }],
          logStartOffset: version >= 5 ? 7 : -1,
          records: Buffer.from("ab"),
        }],
      });
    }
    const none = new WireWriter(false).int32(0).arrayLength(1).string("t").arrayLength(1).int32(1).int16(3)
      .int64(-1).int64(-1).arrayLength(null).int32(-1);
    expect(decodeFetchResponse(none.slice(), 4).partitions[0]!.records).toHaveLength(0);
  });

  test("OffsetForLeaderEpoch", () => {
    const asked = { topic: "t", partition: 1, currentLeaderEpoch: 6, leaderEpoch: 5 };
    const hex = (version: number) =>
      Buffer.concat(encodeOffsetForLeaderEpoch(asked, version)).toString("hex");
    const v2 = "00000001" + "000174" + "00000001" + "00000001" + "00000006" + "00000005";
    expect([hex(2), hex(3)]).toEqual([v2, `ffffffff${v2}`]);
    expect(hex(4)).toBe(
      "ffffffff" + "02" + "0274" + "02" + "00000001" + "00000006" + "00000005" + "000000",
    );
    for (const version of [2, 4]) {
      const answer = new WireWriter(version >= 4).int32(3).arrayLength(1).string("t").arrayLength(1).int16(0)
        .int32(1).int32(4).int64(99).tags().tags().tags();
      expect(decodeOffsetForLeaderEpochResponse(answer.slice(), version)).toEqual({
        throttleMs: 3,
        ends: [{ topic: "t", partition: 1, errorCode: 0, leaderEpoch: 4, endOffset: 99 }],
      });
    }
  });
});
