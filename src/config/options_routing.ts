import { HEADERS_MAX } from "../event/record_headers.ts";
import { texts } from "./option.ts";
import { checkHeaderName, checkTemplate } from "./string_checks.ts";

/** What stands around an event's value in its record, and where the record goes. */
export const routingOptions = {
  headers: texts({
    defaultText: "records have no headers",
    countMax: HEADERS_MAX,
    checkName: checkHeaderName,
    check: checkTemplate,
    doc:
      "Headers of every record, by their names: text, in which `{{field}}` takes a field of the event and `%Y-%m-%d` its time, as in `topic`. " +
      "`%%` is a percent sign. A header is left out of records whose event lacks one of its fields.",
    example: '{ trace = "{{trace_id}}", env = "prod" }',
  }),
};
