import type { Diagnostic, Snippet } from "./diagnostic.ts";

/** A part of a file; lines and columns start at 1, columns count code points, `end` is behind the last character. */
export interface JsonPlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly end: { readonly line: number; readonly column: number };
}

/** One problem, as `shipper validate --json` prints it. Without a place (null) it concerns the file as a whole. */
export interface JsonDiagnostic {
  readonly code: string;
  readonly severity: "error" | "warning";
  readonly message: string;
  readonly file: string;
  readonly line: number | null;
  readonly column: number | null;
  readonly end: JsonPlace["end"] | null;
  /** What stands there; "" for nothing. */
  readonly label: string;
  /** Other places that it has to do with. */
  readonly related: readonly (JsonPlace & { readonly label: string })[];
  readonly hint: string | null;
}

/** What `shipper validate --json` prints. */
export interface JsonReport {
  /** False when there is an error. */
  readonly valid: boolean;
  readonly errors: number;
  readonly warnings: number;
  /** All of them, by file, then by line. */
  readonly diagnostics: readonly JsonDiagnostic[];
}

/** Diagnostics for programs. No text of the file is in it, so nothing has to be masked but what the diagnostics have masked. */
export function diagnosticReport(diagnostics: readonly Diagnostic[]): JsonReport {
  const errors = diagnostics.filter((each) => each.severity === "error").length;
  return {
    valid: errors === 0,
    errors,
    warnings: diagnostics.length - errors,
    diagnostics: diagnostics.map(toJson),
  };
}

function toJson({ code, severity, message, path, snippet, related, hint }: Diagnostic): JsonDiagnostic {
  return {
    code,
    severity,
    message,
    file: path,
    line: snippet?.line ?? null,
    column: snippet?.fileColumn ?? null,
    end: snippet?.end ?? null,
    label: snippet?.label ?? "",
    related: related.map((each) => ({ ...place(each), label: each.label })),
    hint,
  };
}

function place({ path, line, fileColumn, end }: Snippet): JsonPlace {
  return { file: path, line, column: fileColumn, end };
}
