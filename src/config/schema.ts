import type { OptionGroup } from "./option.ts";
import { consoleSinkGroup } from "./options_console_sink.ts";
import { kafkaSinkGroup } from "./options_kafka_sink.ts";
import { fileSourceGroup, stdinSourceGroup } from "./options_sources.ts";
import { apiGroup, logGroup, topGroup } from "./options_top.ts";

/** Everything that a configuration can hold, in the order of the docs. */
export const allGroups: readonly OptionGroup[] = [
  topGroup,
  apiGroup,
  logGroup,
  fileSourceGroup,
  stdinSourceGroup,
  kafkaSinkGroup,
  consoleSinkGroup,
];

/** Components by the value of their `type`. */
export const sourceGroups: ReadonlyMap<string, OptionGroup> = byType([fileSourceGroup, stdinSourceGroup]);
export const sinkGroups: ReadonlyMap<string, OptionGroup> = byType([kafkaSinkGroup, consoleSinkGroup]);

/** Of sources and sinks. Names end up in paths, metrics and client ids. */
export const NAME_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/u;

/** Types of later versions, so that the diagnostic can say so. */
export const plannedSourceTypes: readonly string[] = ["kafka"];
export const plannedSinkTypes: readonly string[] = ["file"];

function byType(groups: readonly OptionGroup[]): ReadonlyMap<string, OptionGroup> {
  return new Map(groups.map((each) => [each.type!, each]));
}
