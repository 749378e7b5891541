import type { Log } from "../telemetry/log.ts";
import type { GroupBuffer, SegmentPlace } from "./group_buffer.ts";
import type { GroupWriter } from "./group_writer.ts";
import { FLAG_CLEAN_STOP, markBytes, nonceSeed, SEGMENT_HEADER_BYTES } from "./segment_format.ts";

/** The segment that a new one goes on from. */
export interface PreviousSegment {
  /** 0: there is none. */
  readonly number: number;
  readonly endBytes: number;
  readonly syncedTo: number;
}

export interface NewSegment {
  readonly number: number;
  readonly fd: number;
  readonly sizeBytes: number;
  readonly nonce: Buffer;
  readonly alignmentBytes: number;
}

/** A segment that is written to. After an error of any call but `close` it must not be written to again. */
export class OpenSegment implements SegmentPlace {
  readonly number: number;
  readonly sizeBytes: number;
  readonly nonce: Buffer;
  readonly seed: number;
  readonly #writer: GroupWriter;
  readonly #fd: number;
  readonly #alignmentBytes: number;
  /** Where the next group goes. */
  offset: number = SEGMENT_HEADER_BYTES;
  groupNumber = 0;
  previousCrc: number;
  /** Everything before is on the device. */
  syncedTo: number = SEGMENT_HEADER_BYTES;

  constructor(writer: GroupWriter, { number, fd, sizeBytes, nonce, alignmentBytes }: NewSegment) {
    this.#writer = writer;
    this.#fd = fd;
    this.#alignmentBytes = alignmentBytes;
    this.number = number;
    this.sizeBytes = sizeBytes;
    this.nonce = nonce;
    this.seed = nonceSeed(nonce);
    this.previousCrc = this.seed;
  }

  /** Groups were written that are not synced. */
  get hasUnsynced(): boolean {
    return this.syncedTo < this.offset;
  }

  /** Whether a group of this size, padded, and a mark behind it fit. */
  hasRoomFor(groupBytes: number): boolean {
    return this.offset + groupBytes + markBytes(this.#alignmentBytes) <= this.sizeBytes;
  }

  /** How the next segment names it. */
  asPrevious(): PreviousSegment {
    return { number: this.number, endBytes: this.offset, syncedTo: this.syncedTo };
  }

  /** Writes the group, and with `sync` has it on the device. Returns the bytes that were written. */
  async write(group: GroupBuffer, sync: boolean): Promise<number> {
    const { crc, sizeBytes, markLength } = group.seal(this, this.#alignmentBytes, sync);
    await this.#run(group, sizeBytes, sync, markLength);
    this.offset += sizeBytes;
    this.groupNumber++;
    this.previousCrc = crc;
    if (sync) this.syncedTo = this.offset;
    return sizeBytes + markLength;
  }

  /** Has all that was written on the device. */
  async sync(scratch: GroupBuffer): Promise<void> {
    await this.#run(scratch, 0, true, 0);
    this.syncedTo = this.offset;
  }

  /** Writes, durably, that the log ends here. Nothing may follow. `scratch` is in nobody's use. */
  async stopCleanly(scratch: GroupBuffer): Promise<void> {
    const markLength = scratch.putMark(0, this, this.offset, FLAG_CLEAN_STOP, this.#alignmentBytes);
    // The first sync is for what the mark says of the groups before it, the second for the mark.
    await this.#run(scratch, 0, true, markLength);
    await this.#run(scratch, 0, true, 0);
  }

  close(log: Log): void {
    this.#writer.run({ kind: "close", fd: this.#fd }).catch((error) =>
      log.debug("A part of the log could not be closed", { segment: this.number, cause: String(error) })
    );
  }

  async #run({ bytes }: GroupBuffer, length: number, sync: boolean, markLength: number): Promise<void> {
    const position = this.offset;
    await this.#writer.run({ kind: "group", fd: this.#fd, bytes, length, position, sync, markLength });
  }
}
