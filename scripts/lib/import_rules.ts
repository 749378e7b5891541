import type { ImportEdge } from "./imports.ts";

/** What every stage may import as it likes. */
const SHARED = ["src/event/", "src/telemetry/", "src/errors.ts", "src/libc.ts", "src/pause.ts"];

/** What any stage may import the types of: its part of the configuration comes to it as a value. */
const SHARED_TYPES = ["src/config/config.ts", "src/config/config_security.ts"];

/**
 * What a folder may import besides its own files and the above. `types`: by `import type` only, the interface just upstream and the
 * ones that it fulfils.
 */
const STAGES: Readonly<Record<string, { values?: readonly string[]; types?: readonly string[] }>> = {
  "src/event/": {},
  "src/telemetry/": {},
  "src/storage/": {},
  "src/checkpoint/": { values: ["src/storage/byte_codec.ts"] },
  "src/journal/": {
    values: ["src/storage/", "src/checkpoint/"],
    types: ["src/batch/membership.ts", "src/kafka/batch_header.ts", "src/kafka/intent_log.ts"],
  },
  "src/buffer/": { values: ["src/storage/"], types: ["src/checkpoint/"] },
  "src/source/": { types: ["src/checkpoint/"] },
  "src/decode/": {},
  "src/shape/": { types: ["src/decode/"] },
  "src/batch/": { types: ["src/buffer/event_buffer.ts"] },
  "src/dead_letter/": {},
  "src/sink/": { values: ["src/batch/partitioners.ts"], types: ["src/buffer/event_buffer.ts"] },
  "src/kafka/": {
    values: ["src/batch/"],
    types: ["src/buffer/event_buffer.ts", "src/sink/sink.ts"],
  },
  "src/kafka/protocol/": {},
  "src/http/": {},
};

/** Sources of the WebAssembly kernels (AssemblyScript) and the tools that embed them: no part of the program. */
export const WASM_SOURCES = /^src\/\w+\/wasm\//;

/** Files that only these may import or use. */
const RESERVED: readonly { what: RegExp; by: RegExp; why: string }[] = [
  {
    what: /^kafkajs/,
    by: /^src\/kafka\/(connection|kafkajs_\w+)(\.d)?\.ts$|^(tests|bench)\//,
    why: "Only src/kafka/connection.ts touches the Kafka client library",
  },
  {
    what: /^src\/cli\//,
    by: /^(main\.ts$|src\/cli\/|tests\/|bench\/|scripts\/)/,
    why: "Only main.ts imports src/cli",
  },
  {
    // Whatever lies in src itself joins stages, but for the few that all of them share.
    what: /^src\/(?!errors|libc|pause)\w+\.ts$/,
    by: /^(main\.ts$|src\/cli\/|src\/\w+\.ts$|tests\/|bench\/)/,
    why: "Stages do not know the pipeline",
  },
  {
    what: /^(tests|scripts|bench)\//,
    by: /^(tests|scripts|bench)\//,
    why: "The program imports nothing from tests, scripts, bench",
  },
];

/** Imports that go against the direction of the pipeline. */
export function forbiddenImports(edges: readonly ImportEdge[]): string[] {
  const violations: string[] = [];
  for (const edge of edges) {
    const place = `${edge.from}:${edge.line}: `;
    for (const { what, by, why } of RESERVED) {
      if (what.test(edge.to) && !by.test(edge.from)) violations.push(`${place}imports ${edge.to}. ${why}`);
    }
    const stage = stageOf(edge.from);
    if (stage === null || !edge.isLocal || isAllowed(stage, edge)) continue;
    const how = edge.isTypeOnly ? "the types of " : "";
    violations.push(
      `${place}${stage} may not import ${how}${edge.to} (scripts/lib/import_rules.ts has the rules)`,
    );
  }
  return violations;
}

/** The innermost stage that a file belongs to. */
function stageOf(path: string): string | null {
  const folders = Object.keys(STAGES).filter((folder) => path.startsWith(folder));
  return folders.sort((a, b) => b.length - a.length)[0] ?? null;
}

function isAllowed(stage: string, edge: ImportEdge): boolean {
  const within = (prefixes: readonly string[]) => prefixes.some((prefix) => edge.to.startsWith(prefix));
  const rules = STAGES[stage]!;
  if (within([stage])) return true;
  if (stage === "src/kafka/protocol/") return false; // a library of its own
  if (within(SHARED) || within(rules.values ?? [])) return true;
  return edge.isTypeOnly && (within(SHARED_TYPES) || within(rules.types ?? []));
}

/** Environment, arguments and exit codes belong to main.ts and src/cli; the build puts SHIPPER_COMMIT in. */
export function forbiddenGlobals(path: string, text: string): string[] {
  if (!path.startsWith("src/") || path.startsWith("src/cli/")) return [];
  const violations: string[] = [];
  text.split("\n").forEach((line, index) => {
    const code = line.replace(/^\s*(\*|\/[/*]).*/, "");
    const found = /\b(process\.(env|argv|exit)|Bun\.(env|argv))\b/.exec(code);
    if (found) violations.push(`${path}:${index + 1}: uses ${found[1]}. Only main.ts and src/cli do`);
  });
  return violations;
}

/** Cycles among files, by imports of values: each as one line. */
export function findCycles(edges: readonly ImportEdge[]): string[] {
  const next = new Map<string, string[]>();
  for (const { from, to, isLocal, isTypeOnly } of edges) {
    if (isLocal && !isTypeOnly) next.set(from, [...next.get(from) ?? [], to]);
  }
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]) => {
    const at = trail.indexOf(path);
    if (at >= 0) return void cycles.push(`Import cycle: ${[...trail.slice(at), path].join(" -> ")}`);
    if (done.has(path)) return;
    for (const target of next.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of next.keys()) visit(path, []);
  return cycles;
}
