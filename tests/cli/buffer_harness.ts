import { expect } from "bun:test";
import { appendFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { exportBuffer } from "../../src/cli/buffer_export.ts";
import { type BufferListing, listBuffers } from "../../src/cli/buffer_ls.ts";
import { type VerifiedBuffer, verifyBuffers } from "../../src/cli/buffer_verify.ts";
import { BufferFrame } from "../../src/buffer/buffer_frames.ts";
import { readStoredEvents } from "../../src/buffer/stored_events.ts";
import { segmentsIn } from "../../src/storage/log_reader.ts";
import { openSegmentFile, readSegmentFrames } from "../../src/storage/segment_file.ts";
import { segmentName } from "../../src/storage/segment_format.ts";
import { systemOps } from "../../src/storage/storage_ops.ts";
import { camelCaseKeys } from "../../src/telemetry/json_keys.ts";
import { until } from "../kafka/support.ts";
import { FakeProcess } from "./fake_process.ts";
import type { StateHarness } from "./state_harness.ts";

export const DISK = 'buffer.type = "disk"\nbuffer.max_size = "256MiB"';

export function bufferDirOf(state: StateHarness, sink = "events"): string {
  return join(state.dataDir, "buffer", sink);
}

/** "line 3" up to, and without, "line 7". */
export function linesOf(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => `line ${from + i}`);
}

/**
 * Appends lines to a.log while a shipper runs whose broker takes nothing, in as many steps as there are counts, each a group of its own, and stops it
 * when they are in the buffer. Each call makes a segment.
 */
export async function fillBuffer(
  state: StateHarness,
  config: string,
  from: number,
  counts: readonly number[],
): Promise<void> {
  const before = state.kafka.fault;
  state.kafka.fault = () => ({ kind: "silence" });
  const host = new FakeProcess();
  const running = host.run(config);
  await until(() => host.stderr.includes("Started"), "it runs");
  let to = from;
  for (const count of counts) {
    appendFileSync(state.dir.file("a.log"), linesOf(to, to + count).map((line) => `${line}\n`).join(""));
    to += count;
    await until(() => eventsIn(bufferDirOf(state)) >= to, `${to} events are in the buffer`);
  }
  host.signal("SIGTERM");
  await running;
  state.kafka.fault = before;
}

/** A good frame of events and where it lies. */
export interface EventsPlace {
  readonly file: string;
  readonly segment: number;
  readonly groupAt: number;
  /** Of its payload. */
  readonly offset: number;
  readonly firstEvent: number;
  readonly count: number;
}

export function eventPlaces(dir: string): EventsPlace[] {
  const places: EventsPlace[] = [];
  for (const segment of segmentsIn(dir, systemOps)) {
    const { fd, header, path: file } = openSegmentFile(dir, segment, "buffer", systemOps);
    if (header !== null) {
      readSegmentFrames({ fd, header }, systemOps, ({ type, data, start, end, groupAt, offset }) => {
        if (type !== BufferFrame.EVENTS) return;
        const { firstEvent, count } = readStoredEvents(data, start, end, null);
        places.push({ file, segment, groupAt, offset, firstEvent, count });
      });
    }
    systemOps.close(fd);
  }
  return places;
}

function eventsIn(dir: string): number {
  const last = eventPlaces(dir).at(-1);
  return last === undefined ? 0 : last.firstEvent + last.count;
}

export function segmentFile(state: StateHarness, index: number): string {
  const dir = bufferDirOf(state);
  return join(dir, segmentName(segmentsIn(dir, systemOps).at(index)!));
}

export function damagedFiles(state: StateHarness): string[] {
  try {
    return readdirSync(join(bufferDirOf(state), "damaged"));
  } catch {
    return [];
  }
}

export async function ls(state: StateHarness, config: string, sink: string | null = null) {
  const shown = await state.call(listBuffers, {
    command: "buffer ls",
    configPaths: [config],
    sink,
    json: true,
  });
  expect(shown).toMatchObject({ code: 0, stderr: "" });
  return (camelCaseKeys(JSON.parse(shown.stdout)) as { buffers: BufferListing[] }).buffers;
}

export async function verify(state: StateHarness, config: string) {
  const args = { command: "buffer verify", configPaths: [config], sink: null, json: true } as const;
  const { code, stdout, stderr } = await state.call(verifyBuffers, args);
  const { buffers } = camelCaseKeys(JSON.parse(stdout)) as { buffers: VerifiedBuffer[] };
  return { code, stderr, buffer: buffers[0]! };
}

export async function verifyText(state: StateHarness, config: string) {
  return await state.call(verifyBuffers, {
    command: "buffer verify",
    configPaths: [config],
    sink: null,
    json: false,
  });
}

/** What an export wrote, and its exit code and messages. */
export async function exported(
  state: StateHarness,
  config: string,
  more: { format?: "lines" | "json"; all?: boolean; sink?: string } = {},
) {
  const chunks: Buffer[] = [];
  const { format = "lines", all = false, sink = "events" } = more;
  const { code, stderr, stdout } = await state.call(
    (args: Parameters<typeof exportBuffer>[0], context) =>
      exportBuffer(args, context, (data, offset, length) => {
        chunks.push(Buffer.from(data.subarray(offset, offset + length)));
        return length;
      }),
    { command: "buffer export", configPaths: [config], sink, format, all },
  );
  expect(stdout).toBe("");
  const text = Buffer.concat(chunks).toString("latin1");
  return { code, stderr, text, lines: text.split("\n").slice(0, -1) };
}
