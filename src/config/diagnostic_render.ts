import { countOf } from "../telemetry/format.ts";
import type { Diagnostic, Snippet } from "./diagnostic.ts";

/**
 * Prints diagnostics the way compilers do:
 *
 *     error[bad-choice]: Cannot read option "format": "josn" is not one of "raw", "json"
 *      --> shipper.toml:7:10
 *       |
 *     7 | format = "josn"
 *       |          ^^^^^^
 *       = hint: did you mean "json"?
 */

/** Diagnostics that are printed; the summary counts the rest. */
const SHOWN_MAX = 100;

const RED = "31";
const YELLOW = "33";
const BLUE = "34";

/**
 * All diagnostics in their order with a blank line between, then one summary line. "" when there are none.
 */
export function renderDiagnostics(
  diagnostics: readonly Diagnostic[],
  options: { readonly color: boolean; readonly consequences?: Consequences },
): string {
  if (diagnostics.length === 0) return "";
  const paint = options.color ? paintAnsi : paintNothing;
  const blocks = diagnostics.slice(0, SHOWN_MAX).map((each) => renderDiagnostic(each, paint));
  if (diagnostics.length > SHOWN_MAX) {
    blocks.push(`... and ${diagnostics.length - SHOWN_MAX} more, not shown\n`);
  }
  return `${blocks.join("\n")}\n${summary(diagnostics, options.consequences ?? AT_START)}\n`;
}

/** What follows from what was found. */
export interface Consequences {
  readonly ofErrors: string;
  readonly ofWarnings: string;
}

const AT_START: Consequences = {
  ofErrors: "nothing was started",
  ofWarnings: "warnings do not stop the start",
};

type Paint = (style: string, text: string) => string;

function paintAnsi(style: string, text: string): string {
  return text === "" ? "" : `\u001b[1;${style}m${text}\u001b[0m`;
}

function paintNothing(_style: string, text: string): string {
  return text;
}

function renderDiagnostic(diagnostic: Diagnostic, paint: Paint): string {
  const style = diagnostic.severity === "error" ? RED : YELLOW;
  const lines = [`${paint(style, `${diagnostic.severity}[${diagnostic.code}]`)}: ${diagnostic.message}`];
  const { snippet } = diagnostic;
  const all = snippet === null ? diagnostic.related : [...diagnostic.related, snippet];
  const width = String(Math.max(1, ...all.map((each) => each.line))).length;
  const gutter = " ".repeat(width);
  if (snippet === null) {
    lines.push(`${gutter}${paint(BLUE, "-->")} ${diagnostic.path}`);
  } else {
    lines.push(
      `${gutter}${paint(BLUE, "-->")} ${snippet.path}:${snippet.line}:${snippet.fileColumn}`,
      paint(BLUE, `${gutter} |`),
      ...renderSnippets(diagnostic, snippet, width, paint),
    );
  }
  if (diagnostic.hint !== null) lines.push(`${gutter} ${paint(BLUE, "=")} hint: ${diagnostic.hint}`);
  return lines.join("\n") + "\n";
}

function renderSnippets(diagnostic: Diagnostic, main: Snippet, width: number, paint: Paint): string[] {
  const here = [...diagnostic.related.filter((each) => each.path === main.path), main];
  const elsewhere = diagnostic.related.filter((each) => each.path !== main.path);
  here.sort((a, b) => a.line - b.line || a.column - b.column);
  const lines: string[] = [];
  let lastLine = 0;
  for (const each of here) {
    if (lastLine !== 0 && each.line > lastLine + 1) lines.push(paint(BLUE, "..."));
    lines.push(
      ...renderSnippet(
        each,
        each === main ? diagnostic.severity : null,
        width,
        each.line !== lastLine,
        paint,
      ),
    );
    lastLine = each.line;
  }
  for (const each of elsewhere) {
    lines.push(
      `${" ".repeat(width)}${paint(BLUE, ":::")} ${each.path}:${each.line}:${each.fileColumn}`,
      paint(BLUE, `${" ".repeat(width)} |`),
      ...renderSnippet(each, null, width, true, paint),
    );
  }
  return lines;
}

/**
 * The line (unless it was just printed) and its underline: carets for the problem, dashes (severity null) for
 * a related place.
 */
function renderSnippet(
  snippet: Snippet,
  severity: "error" | "warning" | null,
  width: number,
  withText: boolean,
  paint: Paint,
): string[] {
  const lines: string[] = [];
  if (withText) {
    lines.push(`${paint(BLUE, `${String(snippet.line).padStart(width)} |`)} ${snippet.text}`.trimEnd());
  }
  // Tabs are repeated so that the underline stays below what it points at, whatever the terminal's tab stops
  // are.
  const indent = Array.from(snippet.text).slice(0, snippet.column).map((c) => c === "\t" ? "\t" : " ").join(
    "",
  );
  const missing = " ".repeat(Math.max(0, snippet.column - Array.from(snippet.text).length));
  const underline = (severity === null ? "-" : "^").repeat(snippet.length);
  const style = severity === "error" ? RED : severity === "warning" ? YELLOW : BLUE;
  const label = snippet.label === "" ? "" : ` ${snippet.label}`;
  lines.push(
    `${paint(BLUE, `${" ".repeat(width)} |`)} ${indent}${missing}${paint(style, underline + label)}`,
  );
  return lines;
}

function summary(diagnostics: readonly Diagnostic[], { ofErrors, ofWarnings }: Consequences): string {
  const errors = diagnostics.filter((each) => each.severity === "error").length;
  const warnings = diagnostics.length - errors;
  const paths = new Set(diagnostics.map((each) => each.path));
  const where = paths.size === 1 ? diagnostics[0]!.path : `${paths.size} files`;
  const counts = [];
  if (errors > 0) counts.push(countOf(errors, "error"));
  if (warnings > 0) counts.push(countOf(warnings, "warning"));
  return `Found ${counts.join(" and ")} in ${where}; ${errors > 0 ? ofErrors : ofWarnings}.`;
}
