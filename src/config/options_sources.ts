import { choice, group, integer, milliseconds, seconds, size, strings } from "./option.ts";
import { checkGlob } from "./string_checks.ts";

const decodingOptions = {
  "decoding.codec": choice({
    values: ["text", "json"],
    default: "text",
    doc:
      "`text`: the line becomes the field `message`. `json`: the line is an object, and its fields become the " +
      "event's fields; a line that is not an object is kept as text and counted.",
    example: '"json"',
  }),
};

const maxLineBytes = size({
  default: 262_144,
  min: 1,
  max: 67_108_864,
  doc: "Longer lines are cut here and counted; the rest of the line is skipped.",
  example: '"1MiB"',
});

const plannedEverywhere = [
  "decoding.on_decode_error",
  "multiline.mode",
  "multiline.start_pattern",
  "multiline.condition_pattern",
  "multiline.timeout_ms",
  "exit_on",
  "on_long_line",
  "line_delimiter",
  "encoding.charset",
];

export const fileSourceGroup = group({
  table: "sources.NAME",
  type: "file",
  title: "Source: file",
  doc:
    "Follows files: what is there is read, then what is appended, through rotation and truncation. Positions are " +
    "kept in `data_dir` and move when the broker has confirmed.",
  options: {
    type: choice({ values: ["file"], required: true, doc: "The kind of source.", example: '"file"' }),
    include: strings({
      required: true,
      countMin: 1,
      check: checkGlob,
      doc: "Which files to follow: paths or globs with `*`, `?`, `[a-z]`, `{a,b}` and `**` for any folders.",
      example: '["/var/log/app/*.log"]',
    }),
    exclude: strings({
      default: [],
      check: checkGlob,
      doc: "Files that match one of these are left alone. `exclude` wins over `include`.",
      example: '["/var/log/app/debug-*.log"]',
    }),
    read_from: choice({
      values: ["beginning", "end"],
      default: "beginning",
      doc: "Where to begin in a file that has no stored position.",
      example: '"end"',
    }),
    ignore_older_secs: seconds({
      default: null,
      defaultText: "off",
      min: 1,
      max: 3_153_600_000,
      doc: "Files whose last change is longer ago are left alone until they change.",
      example: "86400",
    }),
    max_line_bytes: maxLineBytes,
    glob_minimum_cooldown_ms: milliseconds({
      default: 1_000,
      min: 10,
      max: 86_400_000,
      doc:
        "How often the globs are evaluated again. Changes are seen at once through kernel events; this is for what " +
        "they miss, as on network file systems.",
      example: "5000",
    }),
    rotate_wait_secs: seconds({
      default: 5,
      min: 0,
      max: 86_400,
      doc:
        "How long a file that was renamed or deleted stays open after its end, for writers that still have it open.",
      example: "60",
    }),
    partial_flush_after_ms: milliseconds({
      default: 5_000,
      min: 1,
      max: 86_400_000,
      doc:
        "A last line without a newline is shipped when nothing was added for this long; in a file that was rotated " +
        "away, after `rotate_wait_secs` at the latest.",
      example: "1000",
    }),
    max_open_files: integer({
      default: null,
      defaultText: "from the process's limit of open files",
      min: 1,
      max: 1_000_000,
      unit: "files",
      doc: "Files that are open at the same time; others wait for their turn.",
      example: "512",
    }),
    fingerprint_bytes: size({
      default: 1_024,
      min: 16,
      max: 1_048_576,
      doc:
        "How much of a file's beginning tells it from others that got the same inode. Shorter files are told apart " +
        "by what they have.",
      example: "256",
    }),
    rotated: choice({
      values: ["auto", "none"],
      default: "auto",
      doc:
        "`auto`: a file that was renamed while shipper was stopped (`app.log.1`, `app.log-20260101`) is found in " +
        "its folder and finished first. `none`: only what `include` matches is read.",
      example: '"none"',
    }),
    ...decodingOptions,
  },
  planned: [...plannedEverywhere, "remove_after_secs", "oldest_first"],
});

export const stdinSourceGroup = group({
  table: "sources.NAME",
  type: "stdin",
  title: "Source: stdin",
  doc:
    "Reads standard input to its end. When it has ended and everything is delivered, shipper exits. When the sink " +
    "is slow, the pipe waits. A regular file on standard input (`shipper < FILE`, Linux) is read as a file: its " +
    "position is kept in `data_dir`, and the next run with it goes on there.",
  options: {
    type: choice({ values: ["stdin"], required: true, doc: "The kind of source.", example: '"stdin"' }),
    max_line_bytes: maxLineBytes,
    ...decodingOptions,
  },
  planned: plannedEverywhere,
});
