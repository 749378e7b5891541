import type { ChangePlan, ComponentChanges } from "../change_plan.ts";
import type { Diagnostic } from "../config/diagnostic.ts";
import { renderDiagnostics } from "../config/diagnostic_render.ts";
import type { FailedSink } from "../pipeline_change.ts";
import { countOf } from "../telemetry/format.ts";
import type { Log } from "../telemetry/log.ts";
import { DETAILS_FIELD } from "../telemetry/log_format.ts";
import type { Failure } from "../telemetry/metrics.ts";

const AS_BEFORE = "everything goes on as before";
const CONSEQUENCES = {
  ofErrors: AS_BEFORE,
  ofWarnings: "warnings do not stop a configuration from taking over",
};

/** Logs what is wrong with a configuration that was read again, all of it in one entry. Gives what /health says of it. */
export function tellInvalid(
  diagnostics: readonly Diagnostic[],
  configPaths: readonly string[],
  log: Log,
): Failure {
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  const first = errors[0]!;
  const line = first.snippet === null ? "" : `:${first.snippet.line}`;
  const count = errors.length === 1 ? "one error" : `${errors.length} errors, the first`;
  const failure = {
    code: first.code,
    message: `the configuration has ${count}: ${first.message} (${first.path}${line})`,
    hint: `shipper validate ${configPaths.map((each) => `--config ${each}`).join(" ")}`,
  };
  log.error(`Cannot take the changed configuration over, ${AS_BEFORE}: ${failure.message}`, {
    code: failure.code,
    hint: failure.hint,
    [DETAILS_FIELD]: renderDiagnostics(diagnostics, { color: false, consequences: CONSEQUENCES }),
  });
  return failure;
}

export function tellRefused(failure: Failure, log: Log): void {
  log.error(
    `Cannot take the changed configuration over, ${AS_BEFORE}: ${failure.message}`,
    failure.hint === null ? { code: failure.code } : { code: failure.code, hint: failure.hint },
  );
}

export function tellWarnings(diagnostics: readonly Diagnostic[], log: Log): void {
  if (diagnostics.length === 0) return;
  log.warn(
    `The configuration has ${countOf(diagnostics.length, "warning")}, the first: ${diagnostics[0]!.message}`,
    {
      [DETAILS_FIELD]: renderDiagnostics(diagnostics, { color: false, consequences: CONSEQUENCES }),
    },
  );
}

/** Each of them, and what /health says of the first; null: there is none. */
export function tellFailedSinks(failed: readonly FailedSink[], log: Log): Failure | null {
  for (const { sink, message, hint, isAsBefore } of failed) {
    log.error(
      `Cannot start sink "${sink}" ${
        isAsBefore ? "in its changed form, it goes on as it was" : "and goes on without it"
      }: ${message}`,
      hint === null ? {} : { hint },
    );
  }
  const first = failed[0];
  if (first === undefined) return null;
  const how = first.isAsBefore ? "goes on as it was" : "is not there";
  return {
    code: "sink-not-started",
    message: `sink "${first.sink}" ${how}: ${first.message}`,
    hint: first.hint,
  };
}

/** One sentence: what has become of the parts. `options`: those outside of sources and sinks that have changed. */
export function describeChange(plan: ChangePlan | null, options: readonly string[]): string {
  const { sources, sinks } = plan ?? { sources: null, sinks: null };
  const done = (["added", "restarted", "removed"] as const).flatMap((what) => {
    const names = [...namesOf("source", sources, what), ...namesOf("sink", sinks, what)];
    return names.length === 0 ? [] : [`${what}: ${names.join(", ")}`];
  });
  if (options.length > 0) done.push(`changed: ${options.join(", ")}`);
  const kept = [...namesOf("source", sources, "kept"), ...namesOf("sink", sinks, "kept")];
  if (plan === null) done.push("all sources and sinks go on untouched");
  else if (kept.length > 0) done.push(`untouched: ${kept.join(", ")}`);
  return `Took the changed configuration over; ${done.join("; ")}`;
}

function namesOf(noun: string, changes: ComponentChanges | null, what: keyof ComponentChanges): string[] {
  return changes === null ? [] : changes[what].map((name) => `${noun} "${name}"`);
}
