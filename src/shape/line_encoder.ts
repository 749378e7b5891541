import { isUtf8 } from "node:buffer";
import type { BufferPool } from "../event/pooled_buffer.ts";
import { takeNumbers } from "../event/pooled_numbers.ts";
import { ByteWriter } from "./byte_writer.ts";
import { type KeptLines, owned, type OwnedColumn } from "./columns.ts";
import { EscapeKernel, JOINT_BYTES_MAX, PIECE_BYTES_MAX, PIECE_LINES_MAX } from "./escape_kernel.ts";
import { writeEscapedLossy } from "./json_writer.ts";

/** What stands around a line in its JSON object. */
export interface LineEnvelope {
  readonly head: Buffer;
  readonly tail: Buffer;
}

/** JSON objects around the lines, and how many lines held bytes that are not UTF-8 (replaced by U+FFFD). */
export interface EncodedLines {
  readonly column: OwnedColumn;
  readonly invalidUtf8Count: number;
}

/** More room than the last batch needed, so that the next one rarely outgrows its buffer. */
const GROWTH_MARGIN = 1.02;

/** One for the process: it is only used within a call. Made at the first use, because compiling it takes a moment. */
let kernel: EscapeKernel | null = null;

/** Writes one JSON object for each line, bytes to bytes. */
export class LineEncoder {
  readonly #pool: BufferPool;
  /** Length of escaped lines by that of the lines, as last seen. */
  #growth = 1.05;

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  encode(lines: KeptLines, envelope: LineEnvelope): EncodedLines {
    const { count, starts, ends } = lines;
    const { data } = lines.chunk;
    const { head, tail } = envelope;
    const spanBytes = ends[count - 1]! - starts[0]!;
    const areUtf8 = isUtf8(data.subarray(starts[0], ends[count - 1]));
    const aroundBytes = count * (head.length + tail.length);
    const writer = new ByteWriter(this.#pool, Math.ceil(spanBytes * this.#growth) + aroundBytes);
    const outPositions = takeNumbers(this.#pool, 2 * count);
    const outStarts = outPositions.numbers.subarray(0, count);
    const outEnds = outPositions.numbers.subarray(count);
    const isKernelUsed = head.length + tail.length <= JOINT_BYTES_MAX;
    if (isKernelUsed) (kernel ??= new EscapeKernel()).setEnvelope(head, tail);
    const positions = { data, starts, ends };
    let invalidUtf8Count = 0;
    for (let i = 0; i < count;) {
      const pieceEnd = isKernelUsed ? endOfPiece(positions, i, count, areUtf8) : i;
      if (pieceEnd > i) {
        i = kernel!.encode(positions, i, pieceEnd, writer, outStarts, outEnds);
        continue;
      }
      outStarts[i] = writer.length;
      writer.copy(head, 0, head.length);
      if (!writeEscapedLossy(writer, data, starts[i]!, ends[i]!)) invalidUtf8Count++;
      writer.copy(tail, 0, tail.length);
      outEnds[i] = writer.length;
      i++;
    }
    const byteSize = writer.length;
    if (spanBytes > 0) this.#growth = GROWTH_MARGIN * Math.max(1, (byteSize - aroundBytes) / spanBytes);
    const { data: bytes, owner } = writer.finish();
    return {
      column: owned(
        { data: bytes, starts: outStarts, ends: outEnds },
        byteSize,
        owner,
        outPositions.owner,
      ),
      invalidUtf8Count,
    };
  }
}

/** End of the lines from `first` on that the kernel can take at once; `first` when it can't take that line. */
function endOfPiece(
  lines: { readonly data: Buffer; readonly starts: Uint32Array; readonly ends: Uint32Array },
  first: number,
  count: number,
  areUtf8: boolean,
): number {
  const { data, starts, ends } = lines;
  const positionMax = starts[first]! + PIECE_BYTES_MAX;
  const endMax = Math.min(count, first + PIECE_LINES_MAX);
  let end = first;
  while (end < endMax && ends[end]! <= positionMax) {
    if (!areUtf8 && !isUtf8(data.subarray(starts[end], ends[end]))) break;
    end++;
  }
  return end;
}
