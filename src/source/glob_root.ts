import path from "node:path";
import picomatch from "picomatch";

/** Folders below a pattern's fixed part that are entered at most, where `**` sets no depth. */
export const DEPTH_MAX = 64;

/** One include pattern: where to start looking, and what to enter and take below it. */
export interface GlobRoot {
  /** The pattern as written. */
  readonly pattern: string;
  /** The folder that holds everything that can match, absolute. */
  readonly folder: string;
  /** The only path that can match, when the pattern has no magic; else null. */
  readonly literal: string | null;
  /** True when `**` is in the pattern: links to folders are then not followed, because they may form a loop. */
  readonly hasGlobstar: boolean;
  /** Whether a path matches. */
  matches(absolutePath: string): boolean;
  /** Whether something below the folder at `depth` (1 = direct child of `folder`) with this absolute path can match. */
  mayContain(absolutePath: string, depth: number): boolean;
}

/** Compiles an include pattern: `*`, `?`, `[a-z]`, `{a,b}`, `**`. A leading dot has to be written out, as in a shell. */
export function globRoot(pattern: string): GlobRoot {
  const absolute = path.resolve(pattern);
  const { base, glob } = picomatch.scan(absolute);
  if (glob === "") {
    const literal = absolute;
    return {
      pattern,
      folder: path.dirname(literal),
      literal,
      hasGlobstar: false,
      matches: (candidate) => candidate === literal,
      mayContain: () => false,
    };
  }
  const folder = base === "" ? "/" : base;
  const hasGlobstar = glob.includes("**");
  const prefixes = hasGlobstar ? null : prefixMatchers(folder, glob);
  const depthMax = hasGlobstar ? DEPTH_MAX : glob.split("/").length - 1;
  return {
    pattern,
    folder,
    literal: null,
    hasGlobstar,
    matches: picomatch(absolute),
    mayContain: (candidate, depth) => {
      if (depth > depthMax) return false;
      const prefix = prefixes?.[depth - 1];
      return prefix === undefined || prefix(candidate);
    },
  };
}

/** A matcher for the first n segments of the pattern, for every n; null when a brace or bracket spans a slash. */
function prefixMatchers(folder: string, glob: string): ((path: string) => boolean)[] | null {
  const segments = glob.split("/");
  const isSplit = segments.some((segment) => count(segment, "{(") !== count(segment, "})"));
  if (isSplit) return null;
  return segments.slice(0, -1).map((_, index) =>
    picomatch(path.join(folder, ...segments.slice(0, index + 1)))
  );
}

function count(text: string, characters: string): number {
  let found = 0;
  for (const character of text) if (characters.includes(character)) found++;
  return found;
}
