import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ProtocolError, WireReader, WireWriter } from "../../../src/kafka/protocol/wire.ts";

type Item =
  | { readonly kind: "int8" | "int16" | "int32" | "int64" | "uvarint"; readonly value: number }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "string"; readonly value: string | null }
  | { readonly kind: "bytes"; readonly value: Uint8Array }
  | { readonly kind: "tags" };

const item: fc.Arbitrary<Item> = fc.oneof(
  fc.record({ kind: fc.constant("int8" as const), value: fc.integer({ min: -128, max: 127 }) }),
  fc.record({ kind: fc.constant("int16" as const), value: fc.integer({ min: -32768, max: 32767 }) }),
  fc.record({ kind: fc.constant("int32" as const), value: fc.integer() }),
  fc.record({ kind: fc.constant("int64" as const), value: fc.maxSafeInteger() }),
  fc.record({ kind: fc.constant("uvarint" as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
  fc.record({ kind: fc.constant("boolean" as const), value: fc.boolean() }),
  fc.record({ kind: fc.constant("string" as const), value: fc.option(fc.string({ unit: "grapheme" })) }),
  fc.record({ kind: fc.constant("bytes" as const), value: fc.uint8Array({ maxLength: 300 }) }),
  fc.constant({ kind: "tags" as const }),
);

function write(writer: WireWriter, { ...each }: Item): void {
  switch (each.kind) {
    case "boolean":
      return void writer.boolean(each.value);
    case "string":
      return void writer.string(each.value);
    case "bytes":
      return void writer.bytesLength(each.value.length).raw(Buffer.from(each.value));
    case "tags":
      return void writer.tags();
    default:
      return void writer[each.kind](each.value);
  }
}

function read(reader: WireReader, kind: Item["kind"]): unknown {
  switch (kind) {
    case "string":
      return reader.nullableString();
    case "bytes":
      return Uint8Array.from(reader.nullableBytes()!);
    case "tags":
      return reader.tags();
    default:
      return reader[kind]();
  }
}

describe("wire", () => {
  test("what is written is read back, in both formats", () => {
    fc.assert(fc.property(fc.array(item, { maxLength: 40 }), fc.boolean(), (items, flexible) => {
      const writer = new WireWriter(flexible, 16);
      for (const each of items) write(writer, each);
      const reader = new WireReader(Buffer.from(writer.slice()), flexible);
      for (const each of items) {
        const value = read(reader, each.kind);
        if (each.kind !== "tags") expect(value).toEqual(each.value);
      }
      expect(reader.remaining).toBe(0);
    }));
  });

  test("an answer that is cut short anywhere gives ProtocolError", () => {
    fc.assert(
      fc.property(
        fc.array(item, { minLength: 1, maxLength: 10 }),
        fc.boolean(),
        fc.nat(),
        (items, flexible, cut) => {
          const writer = new WireWriter(flexible);
          for (const each of items) write(writer, each);
          if (writer.length === 0) return;
          const reader = new WireReader(Buffer.from(writer.slice(0, cut % writer.length)), flexible);
          expect(() => {
            for (const each of items) {
              read(reader, each.kind);
            }
          }).toThrow(ProtocolError);
        },
      ),
    );
  });

  test("the bytes are Kafka's", () => {
    const fixed = new WireWriter(false).int16(-1).int32(66051).int64(-1).string("ab").string(null)
      .arrayLength(1).tags();
    expect(fixed.slice().toString("hex")).toBe("ffff00010203ffffffffffffffff00026162ffff00000001");
    const flexible = new WireWriter(true).uvarint(300).string("ab").string(null).arrayLength(null)
      .bytesLength(3).tags();
    expect(flexible.slice().toString("hex")).toBe("ac02036162000004" + "00");
    expect(new WireWriter(false).int64(2 ** 40 + 5).slice().toString("hex")).toBe("0000010000000005");
  });

  test("an int64 beyond 2^53 is refused both ways", () => {
    expect(() => new WireWriter(false).int64(2 ** 53)).toThrow(RangeError);
    const reader = new WireReader(Buffer.from("7fffffffffffffff", "hex"), false);
    expect(() => reader.int64()).toThrow("out of range");
    expect(new WireReader(Buffer.from("7fffffffffffffff", "hex"), false).raw(8).toString("hex")).toBe(
      "7fffffffffffffff",
    );
  });

  test("a varint longer than 32 bits is refused", () => {
    expect(() => new WireReader(Buffer.from([255, 255, 255, 255, 31]), true).uvarint()).toThrow(
      "longer than 32 bits",
    );
    expect(() => new WireReader(Buffer.alloc(9, 255), true).uvarint()).toThrow("longer than 32 bits");
    expect(new WireReader(Buffer.from([255, 255, 255, 255, 15]), true).uvarint()).toBe(0xffff_ffff);
  });

  test("an array that claims more than can be there is refused before anything is allocated", () => {
    const huge = new WireReader(Buffer.from("7fffffff0000", "hex"), false);
    expect(() => huge.int32Array()).toThrow("claims an array of 2147483647");
    expect(() => new WireReader(Buffer.from("fffffffe", "hex"), false).arrayLength(1)).toThrow(
      "length of -2",
    );
    expect(new WireReader(Buffer.from("ffffffff", "hex"), false).nullableArrayLength(1)).toBe(-1);
  });

  test("tagged fields are handed out one by one and unknown ones skipped", () => {
    const bytes = Buffer.from([3, 0, 1, 42, 7, 2, 1, 2, 9, 0, 99]);
    const reader = new WireReader(bytes, true);
    const seen: [number, number][] = [];
    reader.tags((tag, field) => {
      if (tag === 0) seen.push([tag, field.int8()]);
    });
    expect(seen).toEqual([[0, 42]]);
    expect(reader.int8()).toBe(99);
    expect(() => new WireReader(Buffer.from([200, 1, 0, 0]), true).tags()).toThrow("tagged fields");
    expect(() => new WireReader(Buffer.from([1, 0, 5, 1]), true).tags()).toThrow("cut short");
  });

  test("a string that is too long for its length field is refused", () => {
    expect(() => new WireWriter(false).string("x".repeat(32768))).toThrow("32768 bytes");
    const writer = new WireWriter(true).string("ä".repeat(20000));
    expect(new WireReader(writer.slice(), true).string().length).toBe(20000);
  });
});
