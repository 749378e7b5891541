import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CompressionCodec } from "../../src/config/config.ts";
import { type Guarantee, guaranteeOptions } from "./guarantee.ts";

export interface ShipperSetup {
  readonly bootstrap: string;
  readonly topic: string;
  /** Globs. Default: stdin is read. */
  readonly include?: readonly string[];
  /** Default "none". */
  readonly codec?: CompressionCodec;
  /** Default "text". */
  readonly encoding?: "text" | "json";
  /** Where `/metrics` is served; nowhere by default. */
  readonly apiAddress?: string;
  /** Default: shipper's own, exactly once with durability "machine". */
  readonly guarantee?: Guarantee;
  /** The field that is the record's key; no keys by default. */
  readonly keyField?: string;
  /** More lines of the sink, as they stand in the file. */
  readonly sinkLines?: readonly string[];
  /** Folder of positions and journal. Default: "data" beside the configuration. */
  readonly dataDir?: string;
  /** Size limit of a buffer on disk. Default: the buffer is in memory, and has shipper's own limits. */
  readonly diskBufferBytes?: number;
}

/** Writes a configuration into `dir` and returns its path. All else is left at its default. */
export function writeShipperConfig(dir: string, setup: ShipperSetup): string {
  const path = join(dir, "shipper.toml");
  // What JSON writes of these strings is also right in TOML.
  const lines = [
    `data_dir = ${JSON.stringify(setup.dataDir ?? join(dir, "data"))}`,
    ...(setup.apiAddress === undefined ? [] : ["[api]", `address = ${JSON.stringify(setup.apiAddress)}`]),
    "[sources.app]",
    ...(setup.include === undefined
      ? ['type = "stdin"']
      : ['type = "file"', `include = ${JSON.stringify(setup.include)}`]),
    "[sinks.kafka]",
    'type = "kafka"',
    'inputs = ["app"]',
    `bootstrap_servers = ${JSON.stringify(setup.bootstrap)}`,
    `topic = ${JSON.stringify(setup.topic)}`,
    'acks = "all"',
    ...(setup.guarantee === undefined ? [] : guaranteeOptions(setup.guarantee)),
    ...(setup.keyField === undefined ? [] : [`key_field = ${JSON.stringify(setup.keyField)}`]),
    ...(setup.diskBufferBytes === undefined
      ? []
      : ['buffer.type = "disk"', `buffer.max_size = ${setup.diskBufferBytes}`]),
    ...(setup.sinkLines ?? []),
    `compression = ${JSON.stringify(setup.codec ?? "none")}`,
    `encoding.codec = ${JSON.stringify(setup.encoding ?? "text")}`,
  ];
  writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o600 });
  return path;
}
