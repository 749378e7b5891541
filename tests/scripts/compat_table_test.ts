import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { tableRow, withRow } from "../../scripts/lib/compat_table.ts";

const DOCUMENT =
  "# T\n\n<!-- scripts/compat writes these rows -->\n\n| a | b |\n|---|---|\n\n<!-- end -->\n\nEnd\n";

test("rows are kept in the order of versions, one a version", () => {
  const rows = [
    tableRow("3.10.0", "2026-01-01", "1 passed", ""),
    tableRow("3.9.1", "2026-01-01", "1 passed", "a | b"),
    tableRow("3.9.1", "2026-01-02", "2 passed", ""),
  ];
  expect(rows.reduce(withRow, DOCUMENT)).toBe(
    "# T\n\n<!-- scripts/compat writes these rows -->\n\n| a | b |\n|---|---|\n| 3.9.1 | 2026-01-02 | 2 passed |  |\n" +
      "| 3.10.0 | 2026-01-01 | 1 passed |  |\n\n<!-- end -->\n\nEnd\n",
  );
  expect(rows[1]).toBe("| 3.9.1 | 2026-01-01 | 1 passed | a \\| b |");
});

test("the document has the table, and one without is refused", () => {
  const kept = readFileSync(new URL("../../docs/kafka_versions.md", import.meta.url), "utf8");
  expect(withRow(kept, tableRow("99.0.0", "x", "y", "z"))).toContain(
    "| 99.0.0 | x | y | z |\n\n<!-- end -->",
  );
  expect(() => withRow("# T\n", "| 1 |")).toThrow("lacks");
});
