import { readdirSync, readFileSync } from "node:fs";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import type { SecretFile } from "../../src/config/secret_file.ts";
import { loadConfig, type LoadContext, type LoadResult } from "../../src/config/load.ts";

/**
 * The folder of configurations that are wrong: NAME.toml, perhaps NAME.2.toml beside it, and in NAME.txt what
 * is printed about them.
 */
export const BAD_FOLDER = new URL("./bad/", import.meta.url);

export const ENV: Readonly<Record<string, string>> = {
  KAFKA_PASSWORD: "hunter2",
  SECONDS: "-1",
  ENV_VAR: "edge-7",
  KEY_PASS_ENV_VAR: "hunter2",
};

const CONTEXT: LoadContext = { hostname: "edge-7", isRoot: true, home: "/root", xdgStateHome: undefined };

/** Files with secrets, as they would be read. */
export const SECRET_FILES: Readonly<Record<string, SecretFile>> = {
  "/run/secrets/kafka": { ok: true, text: "hunter2" },
  "/run/secrets/jaas": { ok: true, text: "x.PlainLoginModule required username=me password=hunter2" },
};

/** Names of the fixtures that have a configuration. */
export function badNames(): string[] {
  return readdirSync(BAD_FOLDER).filter((each) => /^[^.]+\.toml$/u.test(each)).map((each) =>
    each.slice(0, -5)
  ).sort();
}

/** Loads a fixture as `shipper validate` would, were it started in its folder. */
export function loadBad(name: string): LoadResult {
  const paths = readdirSync(BAD_FOLDER).filter((each) =>
    each.startsWith(`${name}.`) && each.endsWith(".toml")
  );
  // "name.2.toml" sorts before "name.toml".
  paths.sort((a, b) => a.length - b.length);
  const files = paths.map((path) => ({ path, text: readFileSync(new URL(path, BAD_FOLDER), "utf8") }));
  const context = name === "no_data_dir" ? { ...CONTEXT, isRoot: false, home: undefined } : CONTEXT;
  return loadConfig(files, ENV, context, readSecret);
}

function readSecret(path: string): SecretFile {
  const found = SECRET_FILES[path];
  if (found !== undefined) return found;
  return { ok: false, reason: "there is no such file", hint: "create it, or name another one" };
}

/** What a fixture prints. */
export function renderBad(name: string): string {
  return renderDiagnostics(loadBad(name).diagnostics, { color: false });
}
