import type { FileRecord } from "../../src/checkpoint/position_file.ts";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import type { Delivery } from "../../src/event/delivery.ts";
import type { Stream } from "../../src/event/stream.ts";
import type { LiveIntent } from "../../src/journal/journal_reader.ts";
import { SimulatedFiles } from "../storage/simulated_files.ts";

/** Lines longer than this are cut. */
export const MAX_LINE_BYTES = 60;
/** A sink of the model: how many partitions, whether by key, and what when its buffer is full. */
export interface ModelSink {
  readonly name: string;
  readonly partitions: number;
  readonly isKeyed: boolean;
  readonly isExact: boolean;
  readonly whenFull: "block" | "drop_newest";
}

export const SINKS: readonly ModelSink[] = [
  { name: "keyed", partitions: 3, isKeyed: true, isExact: true, whenFull: "block" },
  { name: "sticky", partitions: 2, isKeyed: false, isExact: true, whenFull: "drop_newest" },
  { name: "lax", partitions: 1, isKeyed: false, isExact: false, whenFull: "block" },
];

export const PLAIN_ENCODING = {
  codec: "text",
  onlyFields: null,
  exceptFields: null,
  timestampFormat: "rfc3339",
} as const;

/** What a rebuild asks of a sink. */
export function sinkConfig(name: string): KafkaSinkConfig {
  return { type: "kafka", name, encoding: PLAIN_ENCODING, keyField: null } as unknown as KafkaSinkConfig;
}

/** A file, as its application writes it. */
export class ModelFile {
  readonly stream: Stream;
  readonly record: FileRecord;
  content = Buffer.alloc(0);
  /** The lines that are in the file, whole. */
  lines: string[] = [];
  /** No more is written to it. */
  isRotatedAway = false;
  #lineNumber = 0;

  constructor(id: string) {
    const path = `/log/${id}`;
    this.stream = { id, source: "app", sourceType: "file", path };
    const identity = { dev: "1", ino: id.replace(/\D/g, ""), birthtimeNs: "3", sinceNs: "3", generation: 0 };
    this.record = {
      source: "app",
      id,
      path,
      lastPath: path,
      ...identity,
      fingerprintBytes: 0,
      fingerprint: "",
    };
  }

  append(lengths: readonly number[]): void {
    let text = "";
    for (const length of lengths) {
      const line = `${this.stream.id}-${this.#lineNumber++}-`.padEnd(length, "x");
      this.lines.push(line);
      text += `${line}\n`;
    }
    this.content = Buffer.concat([this.content, Buffer.from(text)]);
  }

  /** Values of the lines that begin between two offsets. */
  valuesIn(start: number, end: number): string[] {
    const found: string[] = [];
    let offset = 0;
    for (const line of this.lines) {
      if (offset >= start && offset < end) found.push(valueOf(line));
      offset += line.length + 1;
    }
    return found;
  }

  /** Everything from `offset` on is gone: returns the values of the lines that are not whole any more. */
  cut(offset: number): string[] {
    this.content = Buffer.from(this.content.subarray(0, offset));
    const kept = this.content.toString("latin1").split("\n").length - 1;
    const gone = this.lines.slice(kept);
    this.lines = this.lines.slice(0, kept);
    return gone.map(valueOf);
  }
}

/** What is shipped of a line. */
export function valueOf(line: string): string {
  return line.slice(0, MAX_LINE_BYTES);
}

/** All that survives a crash of shipper: files, the disk of its journal, and the cluster. */
export class World {
  readonly disk: SimulatedFiles;
  readonly files: ModelFile[] = [];
  /** Values that a sink's topic holds, in the order in which they came, and how often. */
  readonly delivered = new Map<string, Map<string, number>>();
  /** Batches that the cluster has, by producer and sequence. */
  readonly #batches = new Set<string>();
  /** Values that may be missing in a sink's topic: given up, or gone with the end of their file. */
  readonly excused = new Map<string, Set<string>>();
  #nextProducer = 1;

  constructor(seed: number, sectorBytes: number) {
    this.disk = new SimulatedFiles(seed, sectorBytes);
    for (const { name } of SINKS) {
      this.delivered.set(name, new Map());
      this.excused.set(name, new Set());
    }
    this.addFile();
  }

  addFile(): ModelFile {
    const file = new ModelFile(`f${this.files.length}`);
    this.files.push(file);
    return file;
  }

  newProducer(): number {
    return this.#nextProducer++;
  }

  has(batchKey: string): boolean {
    return this.#batches.has(batchKey);
  }

  /** The cluster takes a batch, or knows it by its numbers. */
  write(sink: string, batchKey: string, values: readonly string[]): void {
    if (this.#batches.has(batchKey)) return;
    this.#batches.add(batchKey);
    const counts = this.delivered.get(sink)!;
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  }

  /** What the file holds between two offsets; null when it is shorter. */
  extents() {
    return {
      read: (_source: string, id: string, start: number, end: number): Promise<Buffer | null> => {
        const content = this.files.find((file) => file.stream.id === id)?.content;
        if (content === undefined || content.length < end) return Promise.resolve(null);
        return Promise.resolve(Buffer.from(content.subarray(start, end)));
      },
    };
  }
}

/** Numbers of a batch, as the cluster tells batches apart. */
export function keyOfBatch(sink: string, producerIdLow: number, baseSequence: number): string {
  return `${sink} ${producerIdLow} ${baseSequence}`;
}

export function keyOfIntent(sink: string, live: LiveIntent, producerIdLow: number): string {
  return keyOfBatch(sink, producerIdLow, live.intent.baseSequence);
}

/** The values of a delivery's events. */
export function valuesOf({ batch: { values, count } }: Delivery): string[] {
  const found: string[] = [];
  for (let i = 0; i < count; i++) {
    found.push(values.data.toString("latin1", values.starts[i], values.ends[i]));
  }
  return found;
}
