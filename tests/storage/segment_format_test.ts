import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  alignUp,
  decodeGroupHeader,
  decodeSegmentHeader,
  encodeGroupHeader,
  encodeSegmentHeader,
  freeNumber,
  type LogKind,
  nonceSeed,
  SEGMENT_HEADER_BYTES,
  segmentName,
  segmentNumber,
} from "../../src/storage/segment_format.ts";

const NONCE = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");

test("The bytes of what is written stay what they are", () => {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES, 0xff);
  encodeSegmentHeader(
    {
      kind: "buffer",
      alignmentBytes: 4096,
      number: 0x010203,
      sizeBytes: 0x800000,
      nonce: NONCE,
      previous: 0x0102,
      previousEnd: 0x7000,
      previousSyncedTo: 0x6000,
    },
    header,
  );
  expect(header.subarray(0, 72).toString("hex").match(/.{1,16}/g)).toEqual([
    "534849505345470a", // magic
    header.subarray(8, 12).toString("hex") + "0200" + "02" + "0c", // version 2 of a buffer
    "0302010000000000",
    "0000800000000000",
    "0001020304050607",
    "08090a0b0c0d0e0f",
    "0201000000000000",
    "0070000000000000",
    "0060000000000000",
  ]);
  expect(header.subarray(72).every((byte) => byte === 0)).toBe(true);
  const checked = Buffer.from(header.subarray(0, 128));
  checked.fill(0, 8, 12);
  expect(header.readUInt32LE(8)).toBe(Bun.hash.crc32(checked));

  const group = Buffer.alloc(47, 0xff);
  group.write("\u0001\u0002\u0000\u0000\u0000ok", 40, "latin1");
  const fields = { payloadBytes: 7, groupNumber: 3, previousCrc: 0x0a0b0c0d, syncedTo: 0x2000, flags: 1 };
  const crc = encodeGroupHeader(group, 0, fields, NONCE, nonceSeed(NONCE));
  const expected = "53485047" + "00010203" + group.subarray(8, 12).toString("hex") + "0d0c0b0a" + "07000000" +
    "03000000" + "0020000000000000" + "01000000" + "00000000" + "0102000000" + "6f6b";
  expect(group.toString("hex")).toBe(expected);
  expect(group.readUInt32LE(8)).toBe(crc);
  // The checksum of the nonce and what follows, as one piece.
  expect(crc).toBe(Bun.hash.crc32(Buffer.concat([NONCE, group.subarray(12)])));
});

test("What is encoded is decoded, and no byte of it may differ", () => {
  const size = fc.nat(2 ** 48 - 1);
  fc.assert(
    fc.property(
      fc.record({
        kind: fc.constantFrom<LogKind>("journal", "buffer"),
        alignmentBytes: fc.constantFrom(8, 4096),
        number: fc.integer({ min: 2 ** 20, max: 2 ** 48 - 1 }),
        sizeBytes: size,
        nonce: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
        previous: fc.nat(2 ** 20 - 1),
        previousEnd: size,
        previousSyncedTo: size,
      }),
      fc.nat(127),
      fc.integer({ min: 1, max: 255 }),
      (header, place, change) => {
        const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
        encodeSegmentHeader(header, bytes);
        expect(decodeSegmentHeader(bytes)).toEqual({ ...header });
        bytes[place] ^= change;
        expect(decodeSegmentHeader(bytes)).toHaveProperty("cause");
      },
    ),
  );
});

test("A group is good with the nonce of its segment only, and as long as no byte of it differs", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (payload, place, change) => {
        const bytes = Buffer.concat([Buffer.alloc(48), payload]);
        const fields = {
          payloadBytes: payload.length,
          groupNumber: 4_000_000_000,
          previousCrc: 0xfffffffe,
          syncedTo: 2 ** 47,
          flags: 0,
        };
        const seed = nonceSeed(NONCE);
        encodeGroupHeader(bytes, 8, fields, NONCE, seed);
        expect(decodeGroupHeader(bytes, 8, seed)).toEqual(fields);
        expect(decodeGroupHeader(bytes, 8, nonceSeed(Buffer.alloc(16)))).toBeNull();
        expect(decodeGroupHeader(bytes.subarray(0, bytes.length - 1), 8, seed)).toBeNull();
        bytes[16 + place % (bytes.length - 16)] ^= change;
        expect(decodeGroupHeader(bytes, 8, seed)).toBeNull();
      },
    ),
  );
});

test("Names of segments have 16 digits and nothing else", () => {
  expect(segmentName(17)).toBe("0000000000000017.seg");
  expect(segmentNumber("0000000000000017.seg")).toBe(17);
  for (const name of ["17.seg", "0000000000000000.seg", "9999999999999999.seg", "free-1.seg", ".seg"]) {
    expect(segmentNumber(name)).toBeNull();
  }
  expect(segmentNumber("0000000000000017.seg.damaged")).toBeNull();
  expect(freeNumber("free-12.seg")).toBe(12);
  for (const name of ["free-.seg", "free-1.seg.old", "free-x.seg", "0000000000000017.seg"]) {
    expect(freeNumber(name)).toBeNull();
  }
  expect([alignUp(0, 8), alignUp(1, 8), alignUp(8, 8), alignUp(4097, 4096)]).toEqual([0, 8, 8, 8192]);
});
