import { checkAll } from "../check/check_all.ts";
import { type CheckResult, found, passed, placeOf } from "../check/check_result.ts";
import type { Config } from "../config/config.ts";
import type { Diagnostic } from "../config/diagnostic.ts";
import { diagnosticReport, type JsonReport } from "../config/diagnostic_json.ts";
import { renderDiagnostics } from "../config/diagnostic_render.ts";
import { EXIT_CONFIG } from "../errors.ts";
import { countOf } from "../telemetry/format.ts";
import { checkText } from "./check_text.ts";
import { type CommandContext, commandLog } from "./command_context.ts";
import { needsDataDir } from "./data_dir_use.ts";
import { loadConfigFiles } from "./load_config_files.ts";
import { checkApiAddress } from "./check_api_address.ts";
import { readStoredState } from "./stored_state.ts";
import { stdinFileOf } from "./stdin_file_of.ts";

export interface CheckArgs {
  readonly command: "check";
  readonly configPaths: readonly string[];
  /** For programs instead of people. */
  readonly json: boolean;
}

export interface CheckContext extends CommandContext {
  /** Colour on stdout: only on a terminal. */
  readonly stdoutColor: boolean;
}

/** What `shipper check --json` prints; docs/checking.md. Fields may be added; what is there keeps its meaning. */
export interface CheckReport {
  /** Of this form. */
  readonly version: 1;
  /** False when a check has failed. */
  readonly ok: boolean;
  readonly counts: Readonly<Record<CheckResult["status"], number>>;
  readonly checks: readonly CheckResult[];
  /** As `shipper validate --json` prints it. */
  readonly configuration: JsonReport;
}

/**
 * `shipper check`: a line a check on stdout, or one JSON object. Returns the exit code: 0, or 78 when something has failed; warnings do not
 * fail. Disturbs no shipper that runs with the same configuration.
 */
export async function check({ configPaths, json }: CheckArgs, context: CheckContext): Promise<number> {
  const { config, diagnostics } = await loadConfigFiles(configPaths, context);
  if (!json) context.stderr(renderDiagnostics(diagnostics, { color: context.color }));
  const checks = [
    aboutConfiguration(config, diagnostics, configPaths),
    ...config === null ? [] : await runChecks(config, context),
  ];
  const report = reportOf(checks, diagnostics);
  context.stdout(json ? `${JSON.stringify(report, null, 2)}\n` : checkText(report, context.stdoutColor));
  return report.ok ? 0 : EXIT_CONFIG;
}

async function runChecks(config: Config, context: CheckContext): Promise<readonly CheckResult[]> {
  const log = commandLog(context);
  const hasStdinFile = stdinFileOf(config.sources, log) !== null;
  const [results, api] = await Promise.all([
    checkAll(config, {
      hostname: context.hostname,
      now: context.now,
      readState: readStoredState,
      needsDataDir: needsDataDir(config, hasStdinFile, log),
    }),
    checkApiAddress(config),
  ]);
  return [...results, ...api];
}

function aboutConfiguration(
  config: Config | null,
  diagnostics: readonly Diagnostic[],
  paths: readonly string[],
): CheckResult {
  const target = paths.map((each) => each === "-" ? "<stdin>" : each).join(", ");
  const place = placeOf("configuration", { target });
  const { errors, warnings } = diagnosticReport(diagnostics);
  const list = diagnostics.map((each) => each.code);
  if (config === null) {
    const message = `The configuration in ${target} has ${
      countOf(errors, "error")
    }: nothing else is looked at`;
    return found("failed", place, list[0] ?? "config", message, `shipper validate --config ${paths[0]}`);
  }
  const what = `${countOf(config.sources.length, "source")}, ${countOf(config.sinks.length, "sink")}`;
  if (warnings === 0) return passed(place, `The configuration in ${target} is valid: ${what}`);
  const message = `The configuration in ${target} is valid, with ${countOf(warnings, "warning")}: ${what}`;
  return found("warning", place, list[0]!, message, `shipper validate --config ${paths[0]}`);
}

function reportOf(checks: readonly CheckResult[], diagnostics: readonly Diagnostic[]): CheckReport {
  const count = (status: CheckResult["status"]) => checks.filter((each) => each.status === status).length;
  const failed = count("failed");
  return {
    version: 1,
    ok: failed === 0,
    counts: { ok: count("ok"), warning: count("warning"), failed, skipped: count("skipped") },
    checks,
    configuration: diagnosticReport(diagnostics),
  };
}
