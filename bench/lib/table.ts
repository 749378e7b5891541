/** A table as it is printed and kept: the first column is text, the others are numbers that are aligned to the right. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A Markdown table that also reads well on a terminal. */
export function renderTable(table: Table): string {
  const widths = table.columns.map((column, i) =>
    Math.max(3, column.length, ...table.rows.map((row) => row[i]?.length ?? 0))
  );
  const line = (cells: readonly string[]) =>
    `| ${
      widths.map((width, i) => i === 0 ? (cells[i] ?? "").padEnd(width) : (cells[i] ?? "").padStart(width))
        .join(" | ")
    } |\n`;
  const rule = `| ${
    widths.map((width, i) => i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`).join(" | ")
  } |\n`;
  return `${table.title}\n\n${line(table.columns)}${rule}${table.rows.map(line).join("")}`;
}

/** For example "1.31 (1.24 to 1.40)". */
export function formatRatio(
  ratio: { readonly median: number; readonly min: number; readonly max: number },
): string {
  return `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)})`;
}

/** Megabytes of 1,000,000 bytes. */
export function formatMegabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

/** Whole thousands of lines a second. */
export function formatRate(linesPerSecond: number): string {
  return `${(linesPerSecond / 1_000).toFixed(0)} k`;
}
