import type { ByteDecoder, ByteEncoder } from "../storage/byte_codec.ts";
import { CodecError } from "../storage/byte_codec.ts";

/**
 * Frames of the journal (those of positions are in `checkpoint/position_frames.ts`, intents in `intent_frames.ts`):
 *
 *     CHECKPOINT  version uint8 | next batch id varint | machine id text | data_dir inode text     forgets all frames before it
 *     RUN         number varint | sink varint | cluster id text, "" unknown | producer id 8 bytes
 *     INTENT      one intent
 *     ACK         id varint
 *     REPLACE     count varint { cancelled id varint } | count varint { gone } | count varint { length varint | intent }
 *                 gone: kind uint8 (0 dropped, 1 lost, 2 detached) | reason text | count varint { stream varint | lines varint }
 *                 detached: the file was cut back, no intent can name these lines any more; they leave the account
 */
export const JournalFrame = { CHECKPOINT: 1, RUN: 3, INTENT: 7, ACK: 8, REPLACE: 10 } as const;

export const GONE_KINDS = { dropped: 0, lost: 1, detached: 2 } as const;

export const JOURNAL_VERSION = 1;

export interface CheckpointFrame {
  readonly nextBatchId: number;
  readonly machineId: string;
  /** "dev:ino:birthtime" of data_dir: differs for a copy. */
  readonly dataDirInode: string;
}

export function writeCheckpoint(out: ByteEncoder, frame: CheckpointFrame): Buffer {
  return out.reset().uint8(JOURNAL_VERSION).varint(frame.nextBatchId).text(frame.machineId)
    .text(frame.dataDirInode).bytes();
}

/** A journal that a newer shipper wrote. */
export class JournalVersionError extends Error {
  override readonly name = "JournalVersionError";
  readonly version: number;

  constructor(version: number) {
    super(`The journal has version ${version}`);
    this.version = version;
  }
}

/** Throws `JournalVersionError`, `CodecError`. */
export function readCheckpoint(input: ByteDecoder): CheckpointFrame {
  const version = input.uint8();
  if (version > JOURNAL_VERSION) throw new JournalVersionError(version);
  if (version === 0) throw new CodecError("The journal has version 0, which was never used");
  return { nextBatchId: input.varint(), machineId: input.text(), dataDirInode: input.text() };
}

/** A producer id and where it came from. */
export interface RunFrame {
  readonly number: number;
  readonly sinkNumber: number;
  readonly clusterId: string | null;
  readonly producerIdHigh: number;
  readonly producerIdLow: number;
}

export function writeRun(out: ByteEncoder, run: RunFrame): Buffer {
  return out.reset().varint(run.number).varint(run.sinkNumber).text(run.clusterId ?? "")
    .uint32(run.producerIdHigh).uint32(run.producerIdLow).bytes();
}

export function readRun(input: ByteDecoder): RunFrame {
  const number = input.varint();
  const sinkNumber = input.varint();
  const clusterId = input.text();
  return {
    number,
    sinkNumber,
    clusterId: clusterId === "" ? null : clusterId,
    producerIdHigh: input.uint32() | 0,
    producerIdLow: input.uint32() | 0,
  };
}
