import { choice, group } from "./option.ts";
import {
  bufferOptions,
  encodingOptions,
  gapMarkersOption,
  healthcheckOption,
  inputsOption,
  plannedEncodingOptions,
} from "./options_sink_common.ts";

export const consoleSinkGroup = group({
  table: "sinks.NAME",
  type: "console",
  title: "Sink: console",
  doc: "Writes events to standard output, one a line. For trying out sources and encodings.",
  options: {
    type: choice({ values: ["console"], required: true, doc: "The kind of sink.", example: '"console"' }),
    inputs: inputsOption,
    target: choice({
      values: ["stdout", "stderr"],
      default: "stdout",
      doc: "Where to write.",
      example: '"stderr"',
    }),
    ...encodingOptions,
    ...bufferOptions,
    gap_markers: gapMarkersOption,
    healthcheck: healthcheckOption,
  },
  planned: plannedEncodingOptions,
});
