import {
  alignUp,
  claimedPayloadBytes,
  decodeGroupHeader,
  FRAME_HEADER_BYTES,
  GROUP_HEADER_BYTES,
  GROUP_TAG_BYTES,
  groupTag,
  nonceSeed,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from "./segment_format.ts";

/** What is at a place where a group may start. */
export type GroupAt =
  | {
    readonly kind: "group";
    /** Of the group, padding included. */
    readonly sizeBytes: number;
    readonly payloadBytes: number;
    /** Everything in front of this byte of the segment was on the device. */
    readonly syncedTo: number;
    /** It holds nothing, and says only that what is in front of it is on the device: the next group took, or takes, its place. */
    readonly isMark: boolean;
  }
  /** There may be one, but more of it has to be in the window: so many bytes from its start. */
  | { readonly kind: "more"; readonly neededBytes: number }
  | { readonly kind: "none" };

const NONE: GroupAt = { kind: "none" };

/**
 * Tells groups of one segment, in whatever part of its file is in memory. A group is good when its checksum is right under the segment's nonce;
 * that it follows the one before is not looked at, so that reading goes on behind damage. Frames name their own place in the log (a buffer's
 * do): what is missing shows in them.
 */
export class GroupScan {
  readonly #header: SegmentHeader;
  readonly #seed: number;
  readonly #tag: Buffer;

  constructor(header: SegmentHeader) {
    this.#header = header;
    this.#seed = nonceSeed(header.nonce);
    this.#tag = groupTag(header.nonce);
  }

  /** The group at byte `at` of the segment, which is byte `start` of `window`; `end`: where what is valid in the window ends. */
  groupAt(at: number, window: Buffer, start: number, end: number): GroupAt {
    const { sizeBytes, alignmentBytes } = this.#header;
    if (at + GROUP_HEADER_BYTES > sizeBytes) return NONE;
    if (start + GROUP_HEADER_BYTES > end) return { kind: "more", neededBytes: GROUP_HEADER_BYTES };
    if (this.#tag.compare(window, start, start + GROUP_TAG_BYTES) !== 0) return NONE;
    const payloadBytes = claimedPayloadBytes(window, start);
    const neededBytes = GROUP_HEADER_BYTES + payloadBytes;
    if (at + neededBytes > sizeBytes) return NONE;
    if (start + neededBytes > end) return { kind: "more", neededBytes };
    const fields = decodeGroupHeader(window.subarray(0, end), start, this.#seed);
    if (fields === null) return NONE;
    return {
      kind: "group",
      sizeBytes: alignUp(neededBytes, alignmentBytes),
      payloadBytes,
      syncedTo: fields.syncedTo,
      isMark: payloadBytes === 0 && fields.syncedTo === at && fields.groupNumber > 0,
    };
  }

  /** The next place in the window, behind `start`, where a group may start; -1: none. `at`: byte of the segment that `start` is. */
  nextPlace(at: number, window: Buffer, start: number, end: number): number {
    const searched = window.subarray(0, end);
    for (
      let found = searched.indexOf(this.#tag, start + 1);
      found >= 0;
      found = searched.indexOf(this.#tag, found + 1)
    ) {
      if ((at + found - start) % this.#header.alignmentBytes === 0) return found;
    }
    return -1;
  }
}

/** Calls back for each frame of a group whose header is at `start` of `window`. False: a frame is longer than the group. */
export function forEachFrame(
  window: Buffer,
  start: number,
  payloadBytes: number,
  callback: (type: number, from: number, to: number) => void,
): boolean {
  const end = start + GROUP_HEADER_BYTES + payloadBytes;
  for (let at = start + GROUP_HEADER_BYTES; at < end;) {
    if (at + FRAME_HEADER_BYTES > end) return false;
    const from = at + FRAME_HEADER_BYTES;
    const to = from + window.readUInt32LE(at + 1);
    if (to > end) return false;
    callback(window[at]!, from, to);
    at = to;
  }
  return true;
}

/** Where the first group of a segment starts. */
export const FIRST_GROUP_AT = SEGMENT_HEADER_BYTES;
