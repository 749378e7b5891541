import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ForeignPeerError, FRAME_BYTES_MAX, FrameReader } from "../../src/kafka/frame_reader.ts";
import { ProtocolError } from "../../src/kafka/protocol/wire.ts";

function framed(body: Uint8Array): Buffer {
  const frame = Buffer.alloc(4 + body.length);
  frame.writeInt32BE(body.length, 0);
  frame.set(body, 4);
  return frame;
}

describe("FrameReader", () => {
  test("gives the same frames however they are cut", () => {
    const bodies = fc.array(fc.uint8Array({ minLength: 4, maxLength: 60 }), { maxLength: 12 });
    fc.assert(
      fc.property(bodies, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (frames, sizes) => {
        const stream = Buffer.concat(frames.map(framed));
        const reader = new FrameReader();
        const seen: string[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length]!;
          reader.push(stream.subarray(at, at + size), (frame) => seen.push(frame.toString("hex")));
          at += size;
        }
        expect(seen).toEqual(frames.map((frame) => Buffer.from(frame).toString("hex")));
      }),
    );
  });

  test("random bytes give frames or ProtocolError", () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 10 }), (pieces) => {
      const reader = new FrameReader();
      try {
        for (const piece of pieces) reader.push(Buffer.from(piece), () => {});
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }));
  });

  test("a length is refused as soon as it is there", () => {
    for (const length of [-1, 0, 3, FRAME_BYTES_MAX + 1, 0x7fffffff]) {
      const head = Buffer.alloc(4);
      head.writeInt32BE(length, 0);
      expect(() => new FrameReader().push(head, () => {})).toThrow(`claims ${length} bytes`);
    }
    const largest = Buffer.alloc(4);
    largest.writeInt32BE(FRAME_BYTES_MAX, 0);
    new FrameReader().push(largest, () => {});
  });

  test("tells HTTP and TLS by their first bytes", () => {
    const peerOf = (start: string) => {
      try {
        new FrameReader().push(Buffer.from(start, "latin1"), () => {});
      } catch (error) {
        if (error instanceof ForeignPeerError) return error.peer;
      }
      return null;
    };
    expect([peerOf("HTTP/1.1 200"), peerOf("\x15\x03\x03\x00"), peerOf("\x16\x03\x01\x02"), peerOf("RFB ")])
      .toEqual([
        "http",
        "tls",
        "tls",
        null,
      ]);
  });
});
