import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  decodeAddPartitionsToTxnResponse,
  encodeAddPartitionsToTxn,
} from "../../../src/kafka/protocol/add_partitions_to_txn.ts";
import { decodeApiVersionsResponse } from "../../../src/kafka/protocol/api_versions.ts";
import { encodeCreateTopics } from "../../../src/kafka/protocol/create_topics.ts";
import {
  decodeDescribeTransactionsResponse,
  encodeDescribeTransactions,
} from "../../../src/kafka/protocol/describe_transactions.ts";
import { decodeEndTxnResponse, encodeEndTxn } from "../../../src/kafka/protocol/end_txn.ts";
import { decodeFetchResponse, encodeFetch } from "../../../src/kafka/protocol/fetch.ts";
import {
  decodeFindCoordinatorResponse,
  encodeFindTransactionCoordinator,
} from "../../../src/kafka/protocol/find_coordinator.ts";
import { encodeInitProducerId } from "../../../src/kafka/protocol/init_producer_id.ts";
import { encodeProduce } from "../../../src/kafka/protocol/produce.ts";
import { ProtocolError, WireWriter } from "../../../src/kafka/protocol/wire.ts";

const PRODUCER = {
  transactionalId: "me",
  producerId: Buffer.from("0000000000000007", "hex"),
  producerEpoch: 3,
};
const hex = (chunks: readonly Buffer[]) => Buffer.concat(chunks).toString("hex");

describe("messages of transactions", () => {
  test("FindCoordinator asks for the coordinator of a transactional id", () => {
    expect(hex(encodeFindTransactionCoordinator("me", 1))).toBe("00026d65" + "01");
    expect(hex(encodeFindTransactionCoordinator("me", 2))).toBe("00026d65" + "01");
    expect(hex(encodeFindTransactionCoordinator("me", 3))).toBe("036d65" + "01" + "00");
    for (const version of [1, 2, 3]) {
      const answer = new WireWriter(version >= 3).int32(5).int16(15).string("not yet").int32(-1).string("")
        .int32(-1)
        .tags();
      expect(decodeFindCoordinatorResponse(answer.slice(), version)).toEqual({
        throttleMs: 5,
        errorCode: 15,
        errorMessage: "not yet",
        nodeId: -1,
      });
    }
  });

  test("InitProducerId with a transactional id", () => {
    expect(hex(encodeInitProducerId("me", 60_000, 1))).toBe("00026d65" + "0000ea60");
    expect(hex(encodeInitProducerId("me", 60_000, 4))).toBe(
      "036d65" + "0000ea60" + "ffffffffffffffff" + "ffff" + "00",
    );
  });

  test("AddPartitionsToTxn names each topic once", () => {
    const partitions = [{ topic: "a", partition: 0 }, { topic: "b", partition: 4 }, {
      topic: "a",
      partition: 2,
    }];
    const id = "0000000000000007" + "0003";
    expect(hex(encodeAddPartitionsToTxn(PRODUCER, partitions, 1))).toBe(
      "00026d65" + id + "00000002" + "000161" + "00000002" + "00000000" + "00000002" + "000162" + "00000001" +
        "00000004",
    );
    expect(hex(encodeAddPartitionsToTxn(PRODUCER, partitions, 3))).toBe(
      "036d65" + id + "03" + "0261" + "03" + "00000000" + "00000002" + "00" + "0262" + "02" + "00000004" +
        "00" + "00",
    );
    for (const version of [1, 2, 3]) {
      const answer = new WireWriter(version >= 3).int32(1).arrayLength(1).string("a").arrayLength(2).int32(0)
        .int16(0)
        .tags().int32(2).int16(51).tags().tags().tags();
      expect(decodeAddPartitionsToTxnResponse(answer.slice(), version)).toEqual({
        throttleMs: 1,
        partitions: [{ topic: "a", partition: 0, errorCode: 0 }, { topic: "a", partition: 2, errorCode: 51 }],
      });
    }
  });

  test("EndTxn, which tells the next epoch from v5 on", () => {
    const id = "0000000000000007" + "0003";
    expect(hex(encodeEndTxn(PRODUCER, true, 1))).toBe("00026d65" + id + "01");
    expect(hex(encodeEndTxn(PRODUCER, false, 5))).toBe("036d65" + id + "00" + "00");
    const old = new WireWriter(true).int32(0).int16(47).tags();
    expect(decodeEndTxnResponse(old.slice(), 4)).toEqual({ throttleMs: 0, errorCode: 47, next: null });
    const now = new WireWriter(true).int32(2).int16(0).int64(8).int16(4).tags();
    expect(decodeEndTxnResponse(now.slice(), 5)).toEqual({
      throttleMs: 2,
      errorCode: 0,
      next: { producerId: Buffer.from("0000000000000008", "hex"), producerEpoch: 4 },
    });
  });

  test("DescribeTransactions tells how the last transaction of an id ended", () => {
    expect(hex(encodeDescribeTransactions(["me"]))).toBe("02" + "036d65" + "00");
    const id = Buffer.from("0000000000000008", "hex");
    const answer = new WireWriter(true).int32(3).arrayLength(2)
      .int16(105).string("you").string("").int32(0).int64(-1).int64(-1).int16(-1).arrayLength(0).tags()
      .int16(0).string("me").string("PrepareCommit").int32(60_000).int64(1_700_000_000_000).raw(id).int16(4)
      .arrayLength(1).string("t").arrayLength(2).int32(0).int32(5).tags().tags().tags();
    expect(decodeDescribeTransactionsResponse(answer.slice())).toEqual({
      throttleMs: 3,
      transactions: [
        {
          transactionalId: "you",
          errorCode: 105,
          state: "",
          producerId: Buffer.alloc(8, 0xff),
          producerEpoch: -1,
        },
        { transactionalId: "me", errorCode: 0, state: "PrepareCommit", producerId: id, producerEpoch: 4 },
      ],
    });
  });

  test("Produce carries the transactional id", () => {
    const request = { transactionalId: "me", acks: -1 as const, timeoutMs: 1_000, topics: [] };
    expect(hex(encodeProduce(request, 8))).toBe("00026d65" + "ffff" + "000003e8" + "00000000");
    expect(hex(encodeProduce(request, 12))).toBe("036d65" + "ffff" + "000003e8" + "01" + "00");
  });

  test("Fetch under read_committed tells aborted transactions and the last stable offset", () => {
    const asked = { topic: "t", partition: 1, leaderEpoch: 6, offset: 99, sizeBytesMax: 4096, waitMs: 500 };
    const committed = hex(encodeFetch({ ...asked, isolation: "read_committed" }, 4));
    const plain = hex(encodeFetch(asked, 4));
    expect(committed.slice(32, 34)).toBe("01");
    expect(plain.slice(32, 34)).toBe("00");
    expect(committed.slice(0, 32) + committed.slice(34)).toBe(plain.slice(0, 32) + plain.slice(34));
    const answer = new WireWriter(false).int32(0).arrayLength(1).string("t").arrayLength(1).int32(1).int16(0)
      .int64(120).int64(110).arrayLength(1).int64(7).int64(105).bytesLength(0);
    expect(decodeFetchResponse(answer.slice(), 4).partitions[0]).toMatchObject({
      highWatermark: 120,
      lastStableOffset: 110,
      aborted: [{ producerId: Buffer.from("0000000000000007", "hex"), firstOffset: 105 }],
    });
  });

  test("CreateTopics carries settings of the topic", () => {
    const topic = {
      name: "p",
      partitions: 2,
      replicationFactor: -1,
      configs: { "cleanup.policy": "compact" },
    };
    const name = Buffer.from("cleanup.policy").toString("hex");
    const value = Buffer.from("compact").toString("hex");
    expect(hex(encodeCreateTopics([topic], 1_000, false, 4))).toBe(
      "00000001" + "000170" + "00000002" + "ffff" + "00000000" + "00000001" + "000e" + name + "0007" + value +
        "000003e8" + "00",
    );
    expect(hex(encodeCreateTopics([topic], 1_000, false, 5))).toBe(
      "02" + "0270" + "00000002" + "ffff" + "01" + "02" + "0f" + name + "08" + value + "00" + "00" +
        "000003e8" + "00" +
        "00",
    );
  });

  test("ApiVersions tells the features that the cluster has agreed on", () => {
    const features = new WireWriter(true).arrayLength(2).string("metadata.version").int16(27).int16(1).tags()
      .string("transaction.version").int16(2).int16(0).tags();
    const answer = new WireWriter(true).int16(0).arrayLength(1).int16(0).int16(3).int16(12).tags().int32(0)
      .uvarint(2).uvarint(1).uvarint(8).raw(Buffer.alloc(8)).uvarint(2).uvarint(features.length).raw(
        features.slice(),
      );
    const decoded = decodeApiVersionsResponse(answer.slice(), 3);
    expect(decoded.features).toEqual(new Map([["metadata.version", 27], ["transaction.version", 2]]));
    expect(decoded.apis.get(0)).toEqual({ min: 3, max: 12 });
    const without = new WireWriter(true).int16(0).arrayLength(0).int32(0).tags();
    expect(decodeApiVersionsResponse(without.slice(), 3).features.size).toBe(0);
    const old = new WireWriter(false).int16(0).arrayLength(0);
    expect(decodeApiVersionsResponse(old.slice(), 0).features.size).toBe(0);
  });

  const DECODERS: readonly (readonly [string, (payload: Buffer) => unknown])[] = [
    ...[1, 3].map((v) =>
      [`FindCoordinator v${v}`, (b: Buffer) => decodeFindCoordinatorResponse(b, v)] as const
    ),
    ...[1, 3].map((v) =>
      [`AddPartitionsToTxn v${v}`, (b: Buffer) => decodeAddPartitionsToTxnResponse(b, v)] as const
    ),
    ...[1, 4, 5].map((v) => [`EndTxn v${v}`, (b: Buffer) => decodeEndTxnResponse(b, v)] as const),
    ["ApiVersions v3", (b: Buffer) => decodeApiVersionsResponse(b, 3)],
  ];
  for (const [name, decode] of DECODERS) {
    test(`${name}: any bytes give an answer or a ProtocolError`, () => {
      fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          decode(Buffer.from(bytes));
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
        }
      }));
    });
  }
});
