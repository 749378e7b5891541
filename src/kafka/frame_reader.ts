import { ProtocolError } from "./protocol/wire.ts";

/** Largest answer that is taken from a broker. Answers to a producer are some KB; a larger claim is another protocol or damage. */
export const FRAME_BYTES_MAX = 100 * 1024 * 1024;

const LENGTH_BYTES = 4;

/**
 * Cuts what a socket gives into answers: int32 length, then that many bytes. Memory grows with what has arrived, never with what a
 * length claims; an answer that came in one piece is not copied, others are joined once.
 */
export class FrameReader {
  #parts: Buffer[] = [];
  #haveBytes = 0;
  /** Bytes until the next step: the length, or the length and its answer. */
  #needBytes = LENGTH_BYTES;

  /** Calls `onFrame` for each answer that is now complete. Throws ProtocolError; the reader is not to be used after that. */
  push(data: Buffer, onFrame: (frame: Buffer) => void): void {
    this.#parts.push(data);
    this.#haveBytes += data.length;
    if (this.#haveBytes < this.#needBytes) return;
    const joined = this.#parts.length === 1 ? data : Buffer.concat(this.#parts, this.#haveBytes);
    this.#parts = [];
    let at = 0;
    this.#needBytes = LENGTH_BYTES;
    while (joined.length - at >= LENGTH_BYTES) {
      const length = joined.readInt32BE(at);
      if (length < LENGTH_BYTES || length > FRAME_BYTES_MAX) throw lengthError(joined, at, length);
      const end = at + LENGTH_BYTES + length;
      if (end > joined.length) {
        this.#needBytes = end - at;
        break;
      }
      onFrame(joined.subarray(at + LENGTH_BYTES, end));
      at = end;
    }
    this.#haveBytes = joined.length - at;
    if (this.#haveBytes > 0) this.#parts.push(at === 0 ? joined : joined.subarray(at));
  }
}

/** The peer's first bytes often say what it is. */
export class ForeignPeerError extends ProtocolError {
  readonly peer: "http" | "tls";

  constructor(peer: "http" | "tls") {
    super(peer === "http" ? "Peer answered in HTTP" : "Peer answered in TLS");
    this.peer = peer;
  }
}

function lengthError(data: Buffer, at: number, length: number): ProtocolError {
  const start = data.toString("latin1", at, at + 4);
  if (start === "HTTP") return new ForeignPeerError("http");
  // A TLS record: alert (21) or handshake (22), version 3.x.
  if ((data[at] === 0x15 || data[at] === 0x16) && data[at + 1] === 0x03) return new ForeignPeerError("tls");
  return new ProtocolError(
    `Answer claims ${length} bytes, between ${LENGTH_BYTES} and ${FRAME_BYTES_MAX} are possible`,
  );
}
