import { printable } from "../telemetry/printable.ts";

/** A column of a table for people. */
export interface TextColumn {
  readonly title: string;
  /** Figures are right-aligned. */
  readonly isNumber?: boolean;
}

/**
 * Rows under their titles, two blanks apart; ends with a newline. A cell that holds what a terminal would obey (a file's name may) is shown
 * with escapes.
 */
export function textTable(columns: readonly TextColumn[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map(({ title }) => title), ...rows.map((row) => row.map(printable))];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => Bun.stringWidth(line[i]!))));
  return lines.map((line) =>
    line.map((cell, i) => {
      const padding = " ".repeat(widths[i]! - Bun.stringWidth(cell));
      return columns[i]!.isNumber === true ? padding + cell : cell + padding;
    }).join("  ").trimEnd() + "\n"
  ).join("");
}
