import type { Place, SourceText, Span } from "./source_text.ts";

/**
 * Every kind of problem a configuration can have. One code is one rule; tests/config holds a file that breaks
 * it, with the exact text that is printed. "error" stops the start, "warning" never does.
 */
export const DIAGNOSTIC_CODES = {
  "absent-field": "warning",
  "open-topic": "warning",
  "bare-variable": "warning",
  "bad-address": "error",
  "bad-choice": "error",
  "bad-interpolation": "error",
  "bad-name": "error",
  "bad-secret-file": "error",
  "bad-template": "error",
  "bad-value": "error",
  "config-empty": "error",
  "config-is-directory": "error",
  "config-missing": "error",
  "config-not-utf8": "error",
  "config-too-large": "error",
  "config-unreadable": "error",
  "conflict": "error",
  "duplicate-input": "error",
  "duplicate-key": "error",
  "duplicate-name": "error",
  "incomplete-certificate": "error",
  "insecure-sasl": "warning",
  "missing-env": "error",
  "missing-key": "error",
  "no-data-dir": "error",
  "no-sinks": "error",
  "no-sources": "error",
  "not-supported": "error",
  "out-of-range": "error",
  "readable-secret": "warning",
  "shared-files": "warning",
  "stdin-taken": "error",
  "toml-syntax": "error",
  "unknown-input": "error",
  "unknown-key": "error",
  "unknown-type": "error",
  "unread-source": "warning",
  "unused-option": "warning",
  "wrong-type": "error",
} as const satisfies Record<string, "error" | "warning">;

export type DiagnosticCode = keyof typeof DIAGNOSTIC_CODES;

/**
 * A source line with the part that is underlined. `column` and `length` count code points of `text`, `column`
 * from 0.
 */
export interface Snippet {
  readonly path: string;
  readonly line: number;
  /** Where the part begins in the file, from 1. */
  readonly fileColumn: number;
  /** Behind its last character, in the file: it may be on a later line. */
  readonly end: Place;
  readonly text: string;
  readonly column: number;
  readonly length: number;
  /** Stands after the underline; "" for none. */
  readonly label: string;
}

/**
 * One problem, with everything that is needed to print it: no file is read again, and secrets are already
 * masked.
 */
export interface Diagnostic {
  readonly severity: "error" | "warning";
  readonly code: DiagnosticCode;
  /** Stands alone in a log: what could not be done, what was found, what was expected. */
  readonly message: string;
  /** The file as the user named it. */
  readonly path: string;
  /** Where the problem is; null when it concerns the file as a whole. */
  readonly snippet: Snippet | null;
  readonly related: readonly Snippet[];
  /** Something to type. */
  readonly hint: string | null;
  readonly fileIndex: number;
}

/** What a check says about a problem; `Report` adds severity and the masked line. */
export interface Problem {
  readonly code: DiagnosticCode;
  readonly message: string;
  readonly at: Span;
  readonly label?: string;
  readonly related?: readonly { readonly at: Span; readonly label: string }[];
  readonly hint?: string | null;
}

/**
 * Collects problems while the files are checked. Snippets are cut in `finish`, when all secrets are known.
 */
export class Report {
  readonly #problems: Problem[] = [];
  readonly #plain: Diagnostic[] = [];
  errorCount = 0;

  add(problem: Problem): void {
    if (DIAGNOSTIC_CODES[problem.code] === "error") this.errorCount++;
    this.#problems.push(problem);
  }

  /** A problem that has no line to show. */
  addForFile(code: DiagnosticCode, file: SourceText, message: string, hint: string): void {
    this.addFinished(fileDiagnostic(code, file.path, file.index, message, hint));
  }

  addFinished(diagnostic: Diagnostic): void {
    if (diagnostic.severity === "error") this.errorCount++;
    this.#plain.push(diagnostic);
  }

  /** All diagnostics, by file, then by line and column. */
  finish(): Diagnostic[] {
    const all = [...this.#plain, ...this.#problems.map(toDiagnostic)];
    return all.sort((a, b) =>
      a.fileIndex - b.fileIndex || (a.snippet?.line ?? 0) - (b.snippet?.line ?? 0) ||
      (a.snippet?.fileColumn ?? 0) - (b.snippet?.fileColumn ?? 0) || compareText(a.code, b.code)
    );
  }
}

/** A diagnostic about a file as a whole. */
export function fileDiagnostic(
  code: DiagnosticCode,
  path: string,
  fileIndex: number,
  message: string,
  hint: string,
): Diagnostic {
  const severity = DIAGNOSTIC_CODES[code];
  return { severity, code, message, path, snippet: null, related: [], hint, fileIndex };
}

function toDiagnostic(problem: Problem): Diagnostic {
  const related = (problem.related ?? []).map((each) => toSnippet(each.at, each.label));
  return {
    severity: DIAGNOSTIC_CODES[problem.code],
    code: problem.code,
    message: problem.message,
    path: problem.at.file.path,
    snippet: toSnippet(problem.at, problem.label ?? ""),
    related,
    hint: problem.hint ?? null,
    fileIndex: problem.at.file.index,
  };
}

function toSnippet(span: Span, label: string): Snippet {
  const place = span.file.place(span.start);
  return {
    path: span.file.path,
    line: place.line,
    fileColumn: place.column,
    end: span.file.place(span.end),
    ...span.file.shown(span),
    label,
  };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
