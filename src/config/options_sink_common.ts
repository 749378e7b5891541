import { choice, flag, integer, size, strings } from "./option.ts";
import { checkFieldPath } from "./string_checks.ts";

/** Options that every kind of sink has. */

export const MIB = 1_048_576;

export const inputsOption = strings({
  required: true,
  countMin: 1,
  doc: "The sources to ship, by name.",
  example: '["app"]',
});

export const healthcheckOption = flag({
  default: true,
  doc:
    "Check at start that the sink can deliver. A failure is logged and the run goes on; with `--require-healthy` " +
    "shipper exits with code 78.",
  example: "false",
});

export const gapMarkersOption = flag({
  default: false,
  doc:
    "When events were dropped or lost, send one small record with their number, place, time and cause once there is room, " +
    "so that readers see the gap; see [delivery.md](delivery.md#gap-markers).",
  example: "true",
});

export const encodingOptions = {
  "encoding.codec": choice({
    values: ["text", "json", "raw"],
    default: "text",
    doc:
      "`text`: the field `message`. `json`: one object with all fields. `raw`: the bytes of the line, untouched.",
    example: '"json"',
  }),
  "encoding.only_fields": strings({
    default: null,
    defaultText: "all fields",
    countMin: 1,
    check: checkFieldPath,
    doc:
      "Encode these fields alone. Dots reach into nested objects. Not together with `encoding.except_fields`.",
    example: '["timestamp", "message"]',
  }),
  "encoding.except_fields": strings({
    default: null,
    defaultText: "none",
    check: checkFieldPath,
    doc: "Encode all fields but these. Not together with `encoding.only_fields`.",
    example: '["source_type", "request.headers"]',
  }),
  "encoding.timestamp_format": choice({
    values: ["rfc3339", "unix", "unix_ms", "unix_ns"],
    default: "rfc3339",
    doc:
      "How times are written in JSON: as text, or as a whole number of seconds, milliseconds or nanoseconds.",
    example: '"unix_ms"',
  }),
};

export const bufferOptions = {
  "buffer.type": choice({
    values: ["memory", "disk"],
    default: "memory",
    doc:
      "Where events wait for the sink. `memory`: files are read again after a restart, so nothing of them is lost with it; " +
      "lines of stdin are. `disk`: in `data_dir`, where they survive a crash and a power cut, and files move on: for " +
      "stdin, and for files that may be gone before the brokers are back.",
    example: '"memory"',
  }),
  "buffer.max_events": integer({
    default: 50_000,
    min: 1,
    max: 100_000_000,
    unit: "events",
    doc: "The buffer in memory is full with this many events.",
    example: "10000",
  }),
  "buffer.max_size": size({
    default: null,
    defaultText: '67108864 for `buffer.type = "memory"`; required for `"disk"`',
    min: MIB,
    max: 1_099_511_627_776,
    doc: "The buffer is full when its events hold this much memory, or its files this much of the disk.",
    example: '"1GiB"',
  }),
  "buffer.when_full": choice({
    values: ["block", "drop_newest", "drop_oldest"],
    default: "block",
    doc:
      "`block`: the sources wait. `drop_newest`: new events are dropped and counted. `drop_oldest`: with `buffer.type = " +
      '"disk"`, the oldest ones that are not being sent are.',
    example: '"drop_newest"',
  }),
};

export const plannedEncodingOptions = [
  "encoding.json.data_only",
  "encoding.json.update_format",
  "encoding.json.array",
  "encoding.csv.fields",
  "encoding.csv.delimiter",
  "encoding.csv.quote",
];
