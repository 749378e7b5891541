import path from "node:path";
import { crc32 } from "node:zlib";
import { crashPoint } from "../telemetry/crash_point.ts";
import {
  DATA_SUFFIX,
  headerLine,
  INDEX_SUFFIX,
  pieceLine,
  type RescueHeader,
  type RescueIndex,
  rescueKey,
  type RescuePiece,
} from "./rescue_index.ts";
import type { RescueOps } from "./rescue_ops.ts";

/** A piece is copied and synced at a time. */
export const PIECE_BYTES_MAX = 1_048_576;
/** A copy takes no more: a file that grows by a line now and then, and that nobody delivers. */
export const PIECES_MAX = 100_000;
const NEWLINE = 10;

/** What of a copy may be sent. */
export interface VerifiedCopy {
  readonly startOffset: number;
  /** Up to here all bytes are those of the file. */
  readonly endOffset: number;
  /** The same, without a last line of which the end is missing. */
  readonly linesEndOffset: number;
}

/** The copy of one stream's bytes, from `startOffset` to `endOffset`; see rescue_index.ts. Used by one caller at a time. */
export class RescueCopy {
  readonly source: string;
  /** Of the stream. */
  readonly id: string;
  readonly startOffset: number;
  readonly dataPath: string;
  readonly indexPath: string;
  isRemoved = false;
  readonly #ops: RescueOps;
  readonly #pieces: RescuePiece[];
  #indexBytes: number;
  #dataFd: number | null = null;
  #indexFd: number | null = null;

  private constructor(ops: RescueOps, dir: string, { header, pieces, sizeBytes }: RescueIndex) {
    this.#ops = ops;
    this.source = header.source;
    this.id = header.id;
    this.startOffset = header.startOffset;
    const key = path.join(dir, rescueKey(header.source, header.id));
    this.dataPath = key + DATA_SUFFIX;
    this.indexPath = key + INDEX_SUFFIX;
    this.#pieces = [...pieces];
    this.#indexBytes = sizeBytes;
  }

  /** One that an earlier run has left: it is read, not written. */
  static stored(ops: RescueOps, dir: string, index: RescueIndex): RescueCopy {
    return new RescueCopy(ops, dir, index);
  }

  /** Makes the files, whose names are durable then. Rejects with the system's error, and leaves nothing. */
  static async create(ops: RescueOps, dir: string, header: RescueHeader): Promise<RescueCopy> {
    const text = Buffer.from(headerLine(header));
    const copy = new RescueCopy(ops, dir, { header, pieces: [], sizeBytes: text.length });
    try {
      await ops.makeDir(dir);
      copy.#dataFd = await ops.openNew(copy.dataPath);
      copy.#indexFd = await ops.openNew(copy.indexPath);
      await writeAll(ops, copy.#indexFd, text, 0);
      await ops.syncDir(dir);
      await ops.syncDir(path.dirname(dir));
      return copy;
    } catch (error) {
      await copy.remove().catch(() => {}); // the next start removes it
      throw error;
    }
  }

  get endOffset(): number {
    return this.#pieces.at(-1)?.endOffset ?? this.startOffset;
  }

  get sizeBytes(): number {
    return this.endOffset - this.startOffset;
  }

  get isFull(): boolean {
    return this.#pieces.length >= PIECES_MAX;
  }

  /** Whether `append` may be called. */
  get isOpen(): boolean {
    return this.#dataFd !== null && this.#indexFd !== null;
  }

  /**
   * Adds bytes behind `endOffset`; durable when it resolves. Rejects with the system's error: then nothing was added, and the same bytes may be
   * given again.
   */
  async append(bytes: Buffer, isAtEnd: boolean): Promise<void> {
    const [dataFd, indexFd] = [this.#dataFd!, this.#indexFd!];
    const piece = { endOffset: this.endOffset + bytes.length, crc32: crc32(bytes), isAtEnd };
    const text = Buffer.from(pieceLine(piece));
    // Written anew after a failed sync: a second sync alone would succeed without having written anything.
    await writeAll(this.#ops, dataFd, bytes, this.endOffset);
    crashPoint("mid_rescue");
    await writeAll(this.#ops, indexFd, text, this.#indexBytes);
    await this.#ops.sync(dataFd);
    await this.#ops.sync(indexFd);
    this.#indexBytes += text.length;
    this.#pieces.push(piece);
  }

  /** Reads what is needed from `fromOffset` on. Null when there is nothing. Rejects with the system's error. */
  async verify(fromOffset: number): Promise<VerifiedCopy | null> {
    const fd = await this.#ops.openRead(this.dataPath);
    try {
      const buffer = Buffer.allocUnsafe(PIECE_BYTES_MAX);
      let start = this.startOffset;
      let linesEnd = start;
      for (const { endOffset, crc32: expected, isAtEnd } of this.#pieces) {
        const length = endOffset - start;
        if (endOffset <= fromOffset) linesEnd = endOffset;
        else {
          if (length > buffer.length) break;
          const bytes = buffer.subarray(0, await readAll(this.#ops, fd, buffer, length, start));
          if (bytes.length < length || crc32(bytes) !== expected) break;
          const newline = bytes.lastIndexOf(NEWLINE);
          if (newline !== -1) linesEnd = start + newline + 1;
          if (isAtEnd) linesEnd = endOffset;
        }
        start = endOffset;
      }
      if (start === this.startOffset) return null;
      return { startOffset: this.startOffset, endOffset: start, linesEndOffset: linesEnd };
    } finally {
      this.#ops.close(fd);
    }
  }

  /** Removes the files, durably. Rejects with the system's error; it may be called again. */
  async remove(): Promise<void> {
    this.close();
    await this.#ops.remove(this.indexPath);
    await this.#ops.remove(this.dataPath);
    await this.#ops.syncDir(path.dirname(this.dataPath));
    this.isRemoved = true;
  }

  /** No more is added; what is there stays. */
  close(): void {
    for (const fd of [this.#dataFd, this.#indexFd]) if (fd !== null) this.#ops.close(fd);
    this.#dataFd = null;
    this.#indexFd = null;
  }
}

async function writeAll(ops: RescueOps, fd: number, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const count = await ops.write(fd, bytes.subarray(done), position + done);
    if (count <= 0) {
      throw Object.assign(new Error("The system takes no byte and gives no error"), { code: "EIO" });
    }
    done += count;
  }
}

/** Returns how many bytes there are. */
async function readAll(
  ops: RescueOps,
  fd: number,
  target: Buffer,
  length: number,
  position: number,
): Promise<number> {
  let done = 0;
  while (done < length) {
    const count = await ops.read(fd, target.subarray(done), length - done, position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}
