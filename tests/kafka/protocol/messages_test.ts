import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodeApiVersionsResponse, encodeApiVersions } from "../../../src/kafka/protocol/api_versions.ts";
import { ApiKey } from "../../../src/kafka/protocol/api_keys.ts";
import { decodeCreateTopicsResponse, encodeCreateTopics } from "../../../src/kafka/protocol/create_topics.ts";
import {
  decodeDescribeConfigsResponse,
  encodeDescribeTopicConfigs,
} from "../../../src/kafka/protocol/describe_configs.ts";
import {
  decodeDescribeProducersResponse,
  encodeDescribeProducers,
} from "../../../src/kafka/protocol/describe_producers.ts";
import { decodeFetchResponse } from "../../../src/kafka/protocol/fetch.ts";
import {
  decodeCorrelationId,
  encodeRequestHeader,
  responseBody,
} from "../../../src/kafka/protocol/headers.ts";
import {
  decodeInitProducerIdResponse,
  encodeInitProducerId,
} from "../../../src/kafka/protocol/init_producer_id.ts";
import { decodeListOffsetsResponse, encodeListOffsets } from "../../../src/kafka/protocol/list_offsets.ts";
import { decodeDescribeQuorumResponse } from "../../../src/kafka/protocol/describe_quorum.ts";
import { decodeMetadataResponse, encodeMetadata } from "../../../src/kafka/protocol/metadata.ts";
import { decodeOffsetForLeaderEpochResponse } from "../../../src/kafka/protocol/offset_for_leader_epoch.ts";
import { decodeProduceResponse, encodeProduce } from "../../../src/kafka/protocol/produce.ts";
import { ProtocolError, WireReader, WireWriter } from "../../../src/kafka/protocol/wire.ts";
import { apiVersionsBody, metadataBody } from "../../support/fake_broker.ts";

const DECODERS: readonly (readonly [string, (payload: Buffer) => unknown])[] = [
  ...[0, 1, 2, 3].map((v) => [`ApiVersions v${v}`, (b: Buffer) => decodeApiVersionsResponse(b, v)] as const),
  ...[4, 5, 7, 8, 9, 10, 11, 12].map((v) =>
    [`Metadata v${v}`, (b: Buffer) => decodeMetadataResponse(b, v)] as const
  ),
  ...[3, 5, 8, 9, 10].map((v) => [`Produce v${v}`, (b: Buffer) => decodeProduceResponse(b, v)] as const),
  ...[1, 2, 3, 4].map((v) =>
    [`InitProducerId v${v}`, (b: Buffer) => decodeInitProducerIdResponse(b, v)] as const
  ),
  ...[2, 4, 5, 7].map((v) =>
    [`CreateTopics v${v}`, (b: Buffer) => decodeCreateTopicsResponse(b, v)] as const
  ),
  ...[1, 3, 4].map((v) =>
    [`DescribeConfigs v${v}`, (b: Buffer) => decodeDescribeConfigsResponse(b, v)] as const
  ),
  ...[2, 4, 6].map((v) => [`ListOffsets v${v}`, (b: Buffer) => decodeListOffsetsResponse(b, v)] as const),
  ...[4, 5, 7, 10].map((v) => [`Fetch v${v}`, (b: Buffer) => decodeFetchResponse(b, v)] as const),
  ...[2, 4].map((v) =>
    [`OffsetForLeaderEpoch v${v}`, (b: Buffer) => decodeOffsetForLeaderEpochResponse(b, v)] as const
  ),
  ["DescribeProducers v0", (b: Buffer) => decodeDescribeProducersResponse(b)],
  ["DescribeQuorum v1", (b: Buffer) => decodeDescribeQuorumResponse(b)],
];

function onlyProtocolErrors(decode: (payload: Buffer) => unknown, payload: Buffer): void {
  try {
    decode(payload);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
}

describe("decoders", () => {
  for (const [name, decode] of DECODERS) {
    test(`${name}: any bytes give a value or ProtocolError`, () => {
      // Mostly small numbers: lengths and counts that can be, so that decoding goes deep.
      const bytes = fc.array(
        fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 3 }) }, fc.integer({ min: 0, max: 255 })),
        {
          maxLength: 200,
        },
      );
      fc.assert(fc.property(bytes, (values) => onlyProtocolErrors(decode, Buffer.from(values))), {
        numRuns: 300,
      });
    });
  }

  test("a flipped or lost byte of a real answer gives a value or ProtocolError", () => {
    const cluster = {
      brokers: [{ id: 1, host: "a.example", port: 9092 }, { id: 2, host: "b.example", port: 9092 }],
      clusterId: "cluster",
      controllerId: 1,
      topics: [{
        name: "logs",
        partitions: [{ id: 0, leader: 1, leaderEpoch: 3 }, { id: 1, leader: 2, leaderEpoch: 4 }],
      }],
    };
    for (const version of [4, 7, 9, 12]) {
      const whole = metadataBody(cluster, version);
      for (let at = 0; at < whole.length; at++) {
        const flipped = Buffer.from(whole);
        flipped[at]! ^= 0xff;
        onlyProtocolErrors((payload) => decodeMetadataResponse(payload, version), flipped);
        expect(() => decodeMetadataResponse(whole.subarray(0, at), version)).toThrow(ProtocolError);
      }
    }
  });
});

describe("headers", () => {
  test("v1 and v2 differ by the tags only, and the size counts header and body", () => {
    const v1 = encodeRequestHeader(ApiKey.Metadata, 8, 7, "me", 10);
    expect(v1.toString("hex")).toBe("00000016" + "0003" + "0008" + "00000007" + "0002" + "6d65");
    const v2 = encodeRequestHeader(ApiKey.Metadata, 9, 7, null, 10);
    expect(v2.toString("hex")).toBe("00000015" + "0003" + "0009" + "00000007" + "ffff" + "00");
  });

  test("tags of a flexible answer are skipped, ApiVersions has none", () => {
    const frame = Buffer.from("00000007" + "00" + "aabb", "hex");
    expect(decodeCorrelationId(frame)).toBe(7);
    expect(responseBody(frame, ApiKey.Metadata, 9).toString("hex")).toBe("aabb");
    expect(responseBody(frame, ApiKey.Metadata, 8).toString("hex")).toBe("00aabb");
    expect(responseBody(frame, ApiKey.ApiVersions, 3).toString("hex")).toBe("00aabb");
    expect(() => responseBody(Buffer.from("000000", "hex"), ApiKey.Metadata, 9)).toThrow(ProtocolError);
  });
});

describe("Produce", () => {
  const batchA = [Buffer.from("head"), Buffer.from("records of a")];
  const batchB = [Buffer.from("b")];
  const request = {
    transactionalId: null,
    acks: -1 as const,
    timeoutMs: 30_000,
    topics: [{
      name: "t",
      partitions: [{ partition: 3, records: batchA }, { partition: 4, records: batchB }],
    }],
  };

  test("the callers' Buffers are in the body as they are", () => {
    const chunks = encodeProduce(request, 9);
    expect(chunks).toContain(batchA[0]!);
    expect(chunks).toContain(batchA[1]!);
    expect(chunks).toContain(batchB[0]!);
  });

  test("v7 and v9 are laid out as Kafka wants them", () => {
    const v7 = Buffer.concat(encodeProduce(request, 7)).toString("latin1");
    expect(v7).toBe(
      "\xff\xff" + "\xff\xff" + "\x00\x00\x75\x30" + "\x00\x00\x00\x01" + "\x00\x01t" + "\x00\x00\x00\x02" +
        "\x00\x00\x00\x03" + "\x00\x00\x00\x10headrecords of a" + "\x00\x00\x00\x04" + "\x00\x00\x00\x01b",
    );
    const v9 = Buffer.concat(encodeProduce(request, 9)).toString("latin1");
    expect(v9).toBe(
      "\x00" + "\xff\xff" + "\x00\x00\x75\x30" + "\x02" + "\x02t" + "\x03" +
        "\x00\x00\x00\x03" + "\x11headrecords of a" + "\x00" + "\x00\x00\x00\x04" + "\x02b" + "\x00" +
        "\x00" + "\x00",
    );
  });

  test("any request: frames and records join to what a reader finds", () => {
    const partition = fc.record({
      partition: fc.nat(1000),
      records: fc.array(fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)), {
        maxLength: 3,
      }),
    });
    const topic = fc.record({
      name: fc.string({ maxLength: 300 }),
      partitions: fc.array(partition, { maxLength: 5 }),
    });
    fc.assert(
      fc.property(fc.array(topic, { maxLength: 5 }), fc.constantFrom(3, 7, 9, 10), (topics, version) => {
        const body = Buffer.concat(encodeProduce({ ...request, topics }, version));
        const reader = new WireReader(body, version >= 9);
        expect([reader.nullableString(), reader.int16(), reader.int32()]).toEqual([null, -1, 30_000]);
        expect(reader.arrayLength(1)).toBe(topics.length);
        for (const { name, partitions } of topics) {
          expect(reader.string()).toBe(name);
          expect(reader.arrayLength(1)).toBe(partitions.length);
          for (const { partition, records } of partitions) {
            expect(reader.int32()).toBe(partition);
            expect(reader.nullableBytes()!.equals(Buffer.concat(records))).toBe(true);
            reader.tags();
          }
          reader.tags();
        }
        reader.tags();
        expect(reader.remaining).toBe(0);
      }),
    );
  });

  test("answers of v3, v8 and v10", () => {
    const v3 = new WireWriter(false).arrayLength(1).string("t").arrayLength(1).int32(2).int16(6).int64(-1)
      .int64(-1).int32(50);
    expect(decodeProduceResponse(v3.slice(), 3)).toEqual({
      throttleMs: 50,
      partitions: [{
        topic: "t",
        partition: 2,
        errorCode: 6,
        baseOffset: -1,
        logAppendTimeMs: -1,
        logStartOffset: -1,
        recordErrors: [],
        errorMessage: null,
        currentLeader: null,
      }],
    });
    const v8 = new WireWriter(false).arrayLength(1).string("t").arrayLength(1).int32(2).int16(87).int64(-1)
      .int64(-1).int64(0)
      .arrayLength(2).int32(0).string("no key").int32(5).string(null).string("bad records").int32(0);
    const [refused] = decodeProduceResponse(v8.slice(), 8).partitions;
    expect(refused!.recordErrors).toEqual([{ index: 0, message: "no key" }, { index: 5, message: null }]);
    expect(refused!.errorMessage).toBe("bad records");
    const v10 = new WireWriter(true).arrayLength(1).string("t").arrayLength(1).int32(2).int16(6).int64(-1)
      .int64(-1).int64(7)
      .arrayLength(0).string(null);
    v10.uvarint(1).uvarint(0).uvarint(9).int32(3).int32(12).int8(0).tags().int32(0).tags();
    const [moved] = decodeProduceResponse(v10.slice(), 10).partitions;
    expect(moved!.currentLeader).toEqual({ leaderId: 3, leaderEpoch: 12 });
    expect(moved!.logStartOffset).toBe(7);
  });

  test("bytes after the end are an error", () => {
    const body = new WireWriter(false).arrayLength(0).int32(0).int8(0).slice();
    expect(() => decodeProduceResponse(body, 3)).toThrow("1 bytes too many");
  });
});

describe("other messages", () => {
  test("ApiVersions v3 and the v0 form of its refusal", () => {
    const answer = decodeApiVersionsResponse(apiVersionsBody([[0, 3, 9], [18, 0, 3]], 3), 3);
    expect(answer.apis.get(0)).toEqual({ min: 3, max: 9 });
    const refusal = decodeApiVersionsResponse(apiVersionsBody([[18, 0, 2]], 0, 35), 3);
    expect(refusal.errorCode).toBe(35);
    expect(refusal.apis.get(18)).toEqual({ min: 0, max: 2 });
    expect(Buffer.concat(encodeApiVersions("shipper", "1", 3)).toString("latin1")).toBe(
      "\x08shipper\x021\x00",
    );
    expect(encodeApiVersions("shipper", "1", 2)).toEqual([]);
  });

  test("Metadata in all versions", () => {
    const cluster = {
      brokers: [{ id: 1, host: "a", port: 9092 }],
      clusterId: "c",
      controllerId: 1,
      topics: [{
        name: "t",
        topicId: Buffer.alloc(16, 7),
        partitions: [{ id: 1, leader: 1, leaderEpoch: 3 }, {
          id: 0,
          leader: -1,
          leaderEpoch: 2,
          errorCode: 5,
        }],
      }],
    };
    for (let version = 4; version <= 12; version++) {
      const answer = decodeMetadataResponse(metadataBody(cluster, version), version);
      expect(answer.brokers).toEqual([{ id: 1, host: "a", port: 9092, rack: null }]);
      const [topic] = answer.topics;
      expect(topic!.partitions.map((partition) => [partition.id, partition.leader])).toEqual([[0, -1], [
        1,
        1,
      ]]);
      expect(topic!.partitions[1]!.leaderEpoch).toBe(version >= 7 ? 3 : -1);
      expect(topic!.topicId).toBe(version >= 10 ? "BwcHBwcHBwcHBwcHBwcHBw" : null);
    }
    expect(Buffer.concat(encodeMetadata(["t"], 4)).toString("hex")).toBe("00000001" + "000174" + "00");
    const v12 = "02" + "00".repeat(16) + "0274" + "00" + "00" + "00" + "00";
    expect(Buffer.concat(encodeMetadata(["t"], 12)).toString("hex")).toBe(v12);
    expect(Buffer.concat(encodeMetadata([], 10)).toString("hex")).toBe("01" + "00" + "00" + "00" + "00");
  });

  test("InitProducerId keeps the 64 bits of the id", () => {
    const id = Buffer.from("7ffffffffffffff1", "hex");
    const body = Buffer.from(new WireWriter(true).int32(5).int16(0).raw(id).int16(2).tags().slice());
    const answer = decodeInitProducerIdResponse(body, 4);
    expect(answer).toEqual({ throttleMs: 5, errorCode: 0, producerId: id, producerEpoch: 2 });
    expect(Buffer.concat(encodeInitProducerId(null, 60_000, 1)).toString("hex")).toBe("ffff0000ea60");
    expect(Buffer.concat(encodeInitProducerId(null, 60_000, 4)).toString("hex")).toBe(
      "000000ea60" + "ff".repeat(10) + "00",
    );
  });

  test("CreateTopics", () => {
    const topic = { name: "t", partitions: -1, replicationFactor: -1 };
    const v4 = "00000001" + "000174" + "ffffffff" + "ffff" + "00000000" + "00000000" + "000003e8" + "01";
    expect(Buffer.concat(encodeCreateTopics([topic], 1000, true, 4)).toString("hex")).toBe(v4);
    const v7 = new WireWriter(true).int32(0).arrayLength(1).string("t").raw(Buffer.alloc(16, 1)).int16(36)
      .string("is there")
      .int32(3).int16(1).arrayLength(1).string("k").string("v").boolean(false).int8(5).boolean(false).tags()
      .tags().tags();
    expect(decodeCreateTopicsResponse(v7.slice(), 7).topics).toEqual([{
      name: "t",
      errorCode: 36,
      errorMessage: "is there",
    }]);
  });

  test("DescribeConfigs", () => {
    const v1 = "00000001" + "02" + "000174" + "00000001" + "00016b" + "00";
    expect(Buffer.concat(encodeDescribeTopicConfigs(["t"], ["k"], 1)).toString("hex")).toBe(v1);
    const v4 = new WireWriter(true).int32(0).arrayLength(1).int16(0).string(null).int8(2).string("t")
      .arrayLength(1)
      .string("max.message.bytes").string("1048588").boolean(false).int8(5).boolean(false)
      .arrayLength(1).string("s").string("v").int8(1).tags().int8(3).string(null).tags().tags().tags();
    const [found] = decodeDescribeConfigsResponse(v4.slice(), 4).resources;
    expect(found!.values.get("max.message.bytes")).toBe("1048588");
  });

  test("ListOffsets", () => {
    const asked = [{ name: "t", partitions: [{ partition: 1, timestampMs: -1 }] }];
    const v6 = "ffffffff" + "00" + "02" + "0274" + "02" + "00000001" + "ffffffff" + "ff".repeat(8) + "00" +
      "00" + "00";
    expect(Buffer.concat(encodeListOffsets(asked, "read_uncommitted", 6)).toString("hex")).toBe(v6);
    const fenced = [{ name: "t", partitions: [{ partition: 1, timestampMs: -1, leaderEpoch: 7 }] }];
    expect(Buffer.concat(encodeListOffsets(fenced, "read_uncommitted", 6)).toString("hex")).toBe(
      v6.replace("00000001ffffffff", "0000000100000007"),
    );
    const v4 = new WireWriter(false).int32(0).arrayLength(1).string("t").arrayLength(1).int32(1).int16(0)
      .int64(-1).int64(99).int32(4);
    expect(decodeListOffsetsResponse(v4.slice(), 4).offsets).toEqual([
      { topic: "t", partition: 1, errorCode: 0, timestampMs: -1, offset: 99, leaderEpoch: 4 },
    ]);
  });

  test("DescribeProducers", () => {
    const asked = Buffer.concat(encodeDescribeProducers([{ name: "t", partitions: [0, 1] }])).toString("hex");
    expect(asked).toBe("02" + "0274" + "03" + "00000000" + "00000001" + "00" + "00");
    const id = Buffer.from("0000000000000005", "hex");
    const body = new WireWriter(true).int32(0).arrayLength(1).string("t").arrayLength(1).int32(0).int16(0)
      .string(null)
      .arrayLength(1).raw(id).int32(2).int32(41).int64(1_700_000_000_000).int32(0).int64(77).tags().tags()
      .tags().tags();
    expect(decodeDescribeProducersResponse(Buffer.from(body.slice())).partitions).toEqual([{
      topic: "t",
      partition: 0,
      errorCode: 0,
      errorMessage: null,
      producers: [{
        producerId: id,
        producerEpoch: 2,
        lastSequence: 41,
        lastTimestampMs: 1_700_000_000_000,
        transactionStartOffset: 77,
      }],
    }]);
  });
});
