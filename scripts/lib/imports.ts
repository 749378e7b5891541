import { posix } from "node:path";

/** One import or re-export of a file. Paths are relative to the project's folder. */
export interface ImportEdge {
  readonly from: string;
  readonly line: number;
  /** A file of the project, or the name of a package ("kafkajs/src/network"), or "node:fs". */
  readonly to: string;
  readonly isLocal: boolean;
  /** `import type`: it is gone when the program runs. */
  readonly isTypeOnly: boolean;
}

const STATEMENT = /^[ \t]*(?:import|export)\b(\s+type\b)?[^;"'`]*?["']([^"'\n]+)["']/gm;
const DYNAMIC = /\bimport\(\s*["']([^"'\n]+)["']\s*\)/g;

/** Every import of a TypeScript file. */
export function importsOf(path: string, text: string): ImportEdge[] {
  const edges: ImportEdge[] = [];
  const add = (at: number, specifier: string, isTypeOnly: boolean) => {
    const isLocal = specifier.startsWith(".");
    const to = isLocal ? posix.join(posix.dirname(path), specifier) : specifier;
    edges.push({ from: path, line: text.slice(0, at).split("\n").length, to, isLocal, isTypeOnly });
  };
  for (const match of text.matchAll(STATEMENT)) {
    if (isImport(match[0])) add(match.index, match[2]!, match[1] !== undefined);
  }
  for (const match of text.matchAll(DYNAMIC)) add(match.index, match[1]!, false);
  return edges;
}

/** False for `export const x = "..."` and the like. */
function isImport(statement: string): boolean {
  return /\bfrom\s*["'][^"']+["']$/.test(statement) || /^\s*import\s*["']/.test(statement);
}
