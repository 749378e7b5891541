// scripts/layers.ts: checks what the compiler does not. Prints every violation; exit code 1 when there is one.
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { findCycles, forbiddenGlobals, forbiddenImports, WASM_SOURCES } from "./lib/import_rules.ts";
import { barrel, longFile, longFunctions } from "./lib/size_rules.ts";
import { strayText } from "./lib/text_rules.ts";
import { type ImportEdge, importsOf } from "./lib/imports.ts";
import { projectDir } from "./lib/project.ts";
import { runCommand } from "./lib/run_command.ts";

const TEXT_BYTES_MAX = 1_000_000;

const { stdout } = await runCommand("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
  cwd: projectDir,
});
const violations: string[] = [];
const edges: ImportEdge[] = [];
let fileCount = 0;
for (const path of stdout.split("\0")) {
  const bytes = path === "" ? null : readIfThere(join(projectDir, path));
  if (bytes === null || bytes.length > TEXT_BYTES_MAX || bytes.includes(0)) continue;
  const text = bytes.toString("utf8");
  fileCount++;
  violations.push(...strayText(path, text));
  if (![".ts", ".tsx"].includes(extname(path))) continue;
  violations.push(...longFile(path, text), ...longFunctions(path, text));
  if (WASM_SOURCES.test(path)) continue;
  violations.push(...barrel(path, text));
  violations.push(...forbiddenGlobals(path, text));
  edges.push(...importsOf(path, text));
}
violations.push(...forbiddenImports(edges), ...findCycles(edges));

for (const violation of violations) console.error(violation);
console.log(`${fileCount} files, ${violations.length} violations`);
process.exit(violations.length === 0 ? 0 : 1);

/** Null for a file that was deleted and not committed yet. */
function readIfThere(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if (["ENOENT", "EISDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return null;
    throw error;
  }
}
