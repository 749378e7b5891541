import { join } from "node:path";
import { SEGMENT_HEADER_BYTES } from "./segment_format.ts";
import { readFully, type StorageOps, writeFully } from "./storage_ops.ts";

/**
 * Writes a group at `position`: the first `length` bytes of `bytes`. With `sync` it is on the device before the next `markLength` bytes, a
 * mark that says so, are written behind it (not synced: the next group overwrites it).
 */
export interface GroupJob {
  readonly kind: "group";
  readonly fd: number;
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly position: number;
  readonly sync: boolean;
  readonly markLength: number;
}

/** Makes the file longer with zeros, from byte `from` to byte `to`, and syncs it when asked. */
export interface FillJob {
  readonly kind: "fill";
  readonly path: string;
  readonly from: number;
  readonly to: number;
  readonly sync: boolean;
}

/**
 * Turns a free file into a segment: fills it up to `sizeBytes` (from `from` on), puts `header` on it, syncs, renames, syncs the folder. Gives
 * the open file. A crash at any point leaves a free file, or a segment with a good header and no group of its own.
 */
export interface StartJob {
  readonly kind: "start";
  readonly dir: string;
  readonly freeName: string;
  readonly name: string;
  readonly header: Uint8Array;
  readonly from: number;
  readonly sizeBytes: number;
  /** False: what is added takes no room on the device before it is written. */
  readonly zeros: boolean;
}

/** Renames a segment to a free file, or removes it (`freeName` null), durably. */
export interface RecycleJob {
  readonly kind: "recycle";
  readonly dir: string;
  readonly name: string;
  readonly freeName: string | null;
}

/**
 * Has what is in a file on the device: writes bytes `from` to `to` as they are once more, and syncs. A sync alone is not enough where the
 * process before may have seen one fail: the system shows the bytes, and does not write them any more.
 */
export interface RewriteJob {
  readonly kind: "rewrite";
  readonly path: string;
  readonly from: number;
  readonly to: number;
}

export interface CloseJob {
  readonly kind: "close";
  readonly fd: number;
}

/** Everything that writes to a log's folder. */
export type StorageJob = GroupJob | FillJob | StartJob | RecycleJob | RewriteJob | CloseJob;

/** Zeros are written by this many bytes. */
const ZEROS_BYTES = 256 * 1024;
/** What is written once more goes by this many. */
const COPY_BYTES = 256 * 1024;

let zeros: Uint8Array | null = null;

/** Does a job and gives the file it opened, else 0. Blocks; throws the system's error. */
export function runJob(ops: StorageOps, job: StorageJob): number {
  switch (job.kind) {
    case "group":
      writeGroup(ops, job);
      return 0;
    case "fill":
      withFile(ops, job.path, (fd) => {
        fill(ops, fd, job.from, job.to);
        if (job.sync) ops.dataSync(fd);
      });
      return 0;
    case "start":
      return startSegment(ops, job);
    case "recycle":
      if (job.freeName === null) ops.remove(join(job.dir, job.name));
      else ops.rename(join(job.dir, job.name), join(job.dir, job.freeName));
      ops.syncDir(job.dir);
      return 0;
    case "rewrite":
      withFile(ops, job.path, (fd) => rewrite(ops, fd, job.from, job.to));
      return 0;
    case "close":
      ops.close(job.fd);
      return 0;
  }
}

function writeGroup(ops: StorageOps, job: GroupJob): void {
  writeFully(ops, job.fd, job.bytes, 0, job.length, job.position);
  if (!job.sync) return;
  ops.dataSync(job.fd);
  if (job.markLength > 0) {
    writeFully(ops, job.fd, job.bytes, job.length, job.markLength, job.position + job.length);
  }
}

function startSegment(ops: StorageOps, job: StartJob): number {
  const freePath = join(job.dir, job.freeName);
  // The file may have been a segment until a moment ago. Were the folder to go back to that after a crash, a segment of the old name would
  // have the new header.
  if (job.from > 0) ops.syncDir(job.dir);
  const fd = ops.openWrite(freePath);
  try {
    writeFully(ops, fd, job.header, 0, SEGMENT_HEADER_BYTES, 0);
    if (job.zeros) fill(ops, fd, Math.max(job.from, SEGMENT_HEADER_BYTES), job.sizeBytes);
    else if (job.from !== job.sizeBytes) ops.truncate(fd, job.sizeBytes);
    ops.dataSync(fd);
    ops.rename(freePath, join(job.dir, job.name));
    ops.syncDir(job.dir);
    return fd;
  } catch (error) {
    ops.close(fd);
    throw error;
  }
}

function fill(ops: StorageOps, fd: number, from: number, to: number): void {
  zeros ??= new Uint8Array(ZEROS_BYTES);
  for (let at = from; at < to; at += ZEROS_BYTES) {
    writeFully(ops, fd, zeros, 0, Math.min(ZEROS_BYTES, to - at), at);
  }
}

function rewrite(ops: StorageOps, fd: number, from: number, to: number): void {
  const bytes = new Uint8Array(Math.min(to - from, COPY_BYTES));
  for (let at = from; at < to; at += COPY_BYTES) {
    const length = readFully(ops, fd, bytes, 0, Math.min(COPY_BYTES, to - at), at);
    writeFully(ops, fd, bytes, 0, length, at);
  }
  ops.dataSync(fd);
}

function withFile(ops: StorageOps, path: string, act: (fd: number) => void): void {
  const fd = ops.openWrite(path);
  try {
    act(fd);
  } finally {
    ops.close(fd);
  }
}
