import type { Stream } from "../event/stream.ts";
import { type Fingerprint, fingerprintOf } from "./file_identity.ts";
import type { FileTailer } from "./file_tailer.ts";
import type { OpenFile } from "./open_files.ts";

/** One generation of a file: an inode from its creation, or its last truncation, to its end. All outlets share it; each has a tailer. */
export class TailedFile {
  readonly stream: Stream;
  readonly inode: string;
  readonly device: string;
  readonly generation: number;
  /** Unknown files under rotated names that were born before this are none of ours (nanoseconds since the epoch). */
  readonly sinceNs: bigint;
  readonly handle: OpenFile;
  fingerprint: Fingerprint;
  /** The names that the patterns match and that lead to it now. */
  readonly paths = new Set<string>();
  /** Every path under which the kernel may tell of it. */
  readonly watchedNames = new Set<string>();
  lastPath: string;
  /** Where the link at `lastPath` led to; null: it was none. */
  realPath: string | null;
  /** Largest end that was seen. */
  sizeBytes: number;
  mtimeMs: number;
  /** Since when no name leads to it (monotonic); null while one does. */
  rotatedMs: number | null = null;
  isUnlinked = false;
  /** It was closed, and where it is now is not known yet. */
  isSought = false;
  /** It was closed, and is not where it was found last: it has to be looked for. */
  isMisplaced = false;
  /** Another file took a name of this one and waits until this one was read to its end. */
  isSuperseded = false;
  /** Read from the copy that an earlier run has made (`rescue_store.ts`): the file itself is gone. */
  readonly isRescued: boolean;
  /** Truncated: what was not read is gone, the next generation is read instead. */
  isCutOff = false;
  /** The generation in front of it under the same name. */
  predecessor: TailedFile | null = null;
  readonly successors: TailedFile[] = [];
  /** Set when it was truncated. */
  nextGeneration: TailedFile | null = null;
  tailers: readonly FileTailer[] = [];

  constructor(init: {
    stream: Stream;
    inode: string;
    device: string;
    generation: number;
    sinceNs: bigint;
    handle: OpenFile;
    fingerprint: Fingerprint;
    sizeBytes: number;
    mtimeMs: number;
    lastPath: string;
    realPath?: string | null;
    isRescued?: boolean;
  }) {
    this.stream = init.stream;
    this.inode = init.inode;
    this.device = init.device;
    this.generation = init.generation;
    this.sinceNs = init.sinceNs;
    this.handle = init.handle;
    this.fingerprint = init.fingerprint;
    this.sizeBytes = init.sizeBytes;
    this.mtimeMs = init.mtimeMs;
    this.lastPath = init.lastPath;
    this.realPath = init.realPath ?? null;
    this.isRescued = init.isRescued ?? false;
  }

  /** Where it was found last: a restart looks for it in the folder of this path, under any name. */
  get place(): string {
    return this.realPath ?? this.lastPath;
  }

  /** True when every outlet is done with it. */
  get hasEnded(): boolean {
    return this.tailers.every((tailer) => tailer.hasEnded);
  }

  /** Whether a read of `length` bytes from the start found another `head` than was there before: it was truncated before it was read. */
  hasOtherHead(head: Buffer, length: number): boolean {
    const { sizeBytes, hash } = this.fingerprint;
    if (this.isRescued || sizeBytes === 0 || sizeBytes > length) return false;
    return head.length < sizeBytes || fingerprintOf(head.subarray(0, sizeBytes)).hash !== hash;
  }

  /** True when an attempt to open it again, which failed with `code`, has shown that it is not under its name any more. */
  isMissing(code: string): boolean {
    return this.handle.fd === null && (code === "ENOENT" || code === "MOVED");
  }

  /** Puts it behind `file` (its newest generation): each outlet reads that one to its end first. */
  follow(file: TailedFile): void {
    let predecessor = file;
    while (predecessor.nextGeneration !== null) predecessor = predecessor.nextGeneration;
    this.predecessor = predecessor;
    predecessor.successors.push(this);
    predecessor.isSuperseded = true;
    for (const tailer of predecessor.tailers) tailer.passAgain();
  }

  /** This one was truncated: `next` is read instead, and by whoever waited for this one. */
  continueAs(next: TailedFile): void {
    for (const successor of this.successors) successor.predecessor = next;
    next.successors.push(...this.successors);
    next.isSuperseded = this.isSuperseded;
    this.successors.length = 0;
    next.follow(this);
    this.nextGeneration = next;
  }

  /** Lets all its readers look. */
  wake(): void {
    for (const tailer of this.tailers) tailer.wake();
  }
}
