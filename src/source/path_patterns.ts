import path from "node:path";
import picomatch from "picomatch";
import { globRoot } from "./glob_root.ts";

/** Whether a source with these patterns reads the file at an absolute path. */
export function pathPatterns(
  { include, exclude }: { readonly include: readonly string[]; readonly exclude: readonly string[] },
): (candidate: string) => boolean {
  const roots = include.map(globRoot);
  const excluded = exclude.map((pattern) => picomatch(path.resolve(pattern)));
  return (candidate) =>
    roots.some((root) => root.matches(candidate)) && !excluded.some((matches) => matches(candidate));
}
