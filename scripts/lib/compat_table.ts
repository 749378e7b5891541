/** The lines between which docs/kafka_versions.md has its table. */
const BEGIN = "<!-- scripts/compat writes these rows -->";
const END = "<!-- end -->";

/** A row of the table; a bar in a text would begin another cell. */
export function tableRow(version: string, date: string, result: string, notes: string): string {
  return `| ${
    [version, date, result, notes].map((cell) => cell.replaceAll("|", "\\|").trim()).join(" | ")
  } |`;
}

/** The document with this row, in the place of an older one of the same version; rows are in the order of versions. Throws when it has no table. */
export function withRow(document: string, row: string): string {
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END);
  if (begin === -1 || end < begin) {
    throw new Error(`Cannot keep the result: the document lacks "${BEGIN}" or "${END}"`);
  }
  const table = document.slice(begin + BEGIN.length, end).split("\n").filter((line) => line.startsWith("|"));
  const [title, rule, ...rows] = table;
  if (title === undefined || rule === undefined) {
    throw new Error("Cannot keep the result: the table has no head");
  }
  const others = rows.filter((each) => versionOf(each) !== versionOf(row));
  const sorted = [...others, row].sort((a, b) => rank(versionOf(a)) - rank(versionOf(b)));
  const lines = [BEGIN, "", title, rule, ...sorted, "", ""].join("\n");
  return document.slice(0, begin) + lines + document.slice(end);
}

function versionOf(row: string): string {
  return row.split("|")[1]?.trim() ?? "";
}

function rank(version: string): number {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  return (major * 1_000 + minor) * 1_000 + patch;
}
