const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;

/** Files that may be longer, with the reason. */
const LONG_FILES: Readonly<Record<string, string>> = {};

/** A file that wants to be two. */
export function longFile(path: string, text: string): string[] {
  const lineCount = text.split("\n").length - 1;
  if (lineCount <= FILE_LINES_MAX || path in LONG_FILES) return [];
  return [`${path}: ${lineCount} lines, at most ${FILE_LINES_MAX}`];
}

const CONTROL =
  /^\s*(\} )?(if|else|for|while|switch|case|do|try|catch|finally|with|return|class|interface|enum|namespace|type)\b/;
const OPENING = /(=>|\)(: [^=]+)?|\bfunction\b.*) \{$/;
/** Groups of tests are functions in form only. */
const GROUP = /^\s*describe(\.\w+)*\(/;

/** Functions that want to be two. Goes by the indentation, which `deno fmt` keeps. */
export function longFunctions(path: string, text: string): string[] {
  const lines = text.split("\n");
  const violations: string[] = [];
  lines.forEach((line, start) => {
    if (!OPENING.test(line) || CONTROL.test(line) || GROUP.test(line)) return;
    const indent = line.length - line.trimStart().length;
    const closing = new RegExp(`^ {${indent}}\\}`);
    const length = lines.slice(start + 1).findIndex((other) => closing.test(other)) + 2;
    if (length > FUNCTION_LINES_MAX) {
      violations.push(`${path}:${start + 1}: a function of ${length} lines, at most ${FUNCTION_LINES_MAX}`);
    }
  });
  return violations;
}

/** A file that only passes on what others export hides where things live. */
export function barrel(path: string, text: string): string[] {
  const statements = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "").split(/;\s*\n/).map((part) => part.trim())
    .filter(Boolean);
  const isBarrel = statements.length > 0 &&
    statements.every((part) => /^export\b[^=]*\bfrom\s*["']/.test(part));
  return isBarrel ? [`${path}: only re-exports; import from the files themselves`] : [];
}
