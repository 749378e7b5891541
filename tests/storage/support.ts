import { readLog } from "../../src/storage/log_reader.ts";
import type { LogReadResult } from "../../src/storage/log_reader.ts";
import type { LogKind } from "../../src/storage/segment_format.ts";
import type { AddFrame, SegmentedLogOptions } from "../../src/storage/log_options.ts";
import type { StorageOps } from "../../src/storage/storage_ops.ts";
import type { Log } from "../../src/telemetry/log.ts";

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

const EVENT = 1;
const CHECKPOINT = 2;

/** Payload of event `index`: its number, and bytes that follow from it. */
export function eventPayload(index: number, sizeBytes = 20 + (index * 37) % 200): Buffer {
  const payload = Buffer.alloc(Math.max(8, sizeBytes));
  payload.writeUInt32LE(index, 0);
  payload.writeUInt32LE(payload.length, 4);
  for (let i = 8; i < payload.length; i++) payload[i] = (index * 31 + i * 7) & 255;
  return payload;
}

/** What a log of numbered events says: which come first and how many there are. Throws when one is wrong or out of order. */
export class EventReader {
  first = -1;
  next = -1;

  readonly onFrame = (type: number, payload: Buffer): void => {
    const index = payload.readUInt32LE(0);
    if (type === CHECKPOINT) {
      if (this.next >= 0) throw new Error("A checkpoint is not the first frame");
      this.first = index;
      this.next = index;
      return;
    }
    if (type !== EVENT) throw new Error(`A frame of type ${type}`);
    if (this.next < 0) this.first = this.next = index;
    if (index !== this.next) throw new Error(`Event ${index} comes where ${this.next} was expected`);
    if (!payload.equals(eventPayload(index, payload.readUInt32LE(4)))) {
      throw new Error(`Event ${index} is changed`);
    }
    this.next++;
  };
}

/** Reads a log of numbered events. `next`: the number of the one after the last. */
export function readEvents(
  ops: StorageOps,
  kind: LogKind = "journal",
  dir = "/log",
): { readonly found: LogReadResult; readonly first: number; readonly next: number } {
  const reader = new EventReader();
  const found = readLog(dir, kind, ({ type, payload }) => reader.onFrame(type, payload), ops);
  return { found, first: Math.max(0, reader.first), next: Math.max(0, reader.next) };
}

/** Appends numbered events; as a journal its checkpoint says how many there were. */
export class EventWriter {
  next: number;

  constructor(next = 0) {
    this.next = next;
  }

  append(log: { append(type: number, payload: Buffer): void }, count = 1, sizeBytes?: number): void {
    for (let i = 0; i < count; i++) log.append(EVENT, eventPayload(this.next++, sizeBytes));
  }

  readonly checkpoint = (add: AddFrame): void => {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(this.next, 0);
    add(CHECKPOINT, payload);
  };
}

export function logOptions(
  ops: StorageOps,
  events: EventWriter,
  more: Partial<SegmentedLogOptions> = {},
): SegmentedLogOptions {
  const kind = more.kind ?? "journal";
  return {
    dir: "/log",
    kind,
    segmentBytes: 1_048_576,
    durability: "machine",
    log: silentLog,
    ops,
    checkpoint: kind === "journal" ? events.checkpoint : null,
    onProblem: () => {},
    retryMsMax: 0,
    ...more,
  };
}
