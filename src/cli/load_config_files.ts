import { readFile, stat } from "node:fs/promises";
import { type Diagnostic, type DiagnosticCode, fileDiagnostic } from "../config/diagnostic.ts";
import { type ConfigFile, loadConfig, type LoadContext, type LoadResult } from "../config/load.ts";
import { literalSecrets, readableSecret } from "../config/readable_secrets.ts";
import type { ReadSecretFile } from "../config/secret_file.ts";
import { quote } from "../config/source_text.ts";
import { readSecretFile } from "./secret_file.ts";

/** A larger file is no configuration; it is not read. */
export const CONFIG_FILE_BYTES_MAX = 4_194_304;

/** What loading needs from the process; tests pass their own. */
export interface LoadFilesContext extends LoadContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard input as chunks, for the path "-". */
  readonly stdin: () => AsyncIterable<Uint8Array>;
  /** Called with the path of a file right before it is read: of the configuration, or of a secret. */
  readonly onRead?: (path: string) => void;
}

/**
 * Reads the files named by `--config` and checks them as one configuration. A file that cannot be read has a
 * diagnostic like any other problem. `readSecret` opens the files that hold secrets.
 */
export async function loadConfigFiles(
  paths: readonly string[],
  context: LoadFilesContext,
  readSecret: ReadSecretFile = readSecretFile,
): Promise<LoadResult> {
  const files: (ConfigFile | Diagnostic)[] = [];
  for (const [index, path] of paths.entries()) files.push(await readConfigFile(path, index, context));
  const result = loadConfig(files, context.env, context, (path) => {
    context.onRead?.(path);
    return readSecret(path);
  });
  const warnings = await readableSecrets(result, context);
  if (warnings.length === 0) return result;
  const diagnostics = [...result.diagnostics, ...warnings].sort((a, b) => a.fileIndex - b.fileIndex);
  return { ...result, diagnostics };
}

/** Modes of files that hold secrets; one warning a file. */
async function readableSecrets(
  { checked }: LoadResult,
  { env }: LoadFilesContext,
): Promise<readonly Diagnostic[]> {
  const warnings: Diagnostic[] = [];
  const seen = new Set<number>();
  for (const secret of checked === null ? [] : literalSecrets(checked, env)) {
    const { path, index } = secret.file;
    if (path === "<stdin>" || seen.has(index)) continue;
    seen.add(index);
    const status = await stat(path).catch(() => null); // it was read a moment ago, and is gone: nobody reads it now
    if (status?.isFile() === true && (status.mode & 0o004) !== 0) {
      warnings.push(readableSecret(secret, status.mode));
    }
  }
  return warnings;
}

async function readConfigFile(
  path: string,
  index: number,
  context: LoadFilesContext,
): Promise<ConfigFile | Diagnostic> {
  const shownPath = path === "-" ? "<stdin>" : path;
  const refuse = (code: DiagnosticCode, reason: string, hint: string) =>
    fileDiagnostic(code, shownPath, index, `Cannot read ${quote(shownPath)}: ${reason}`, hint);
  let bytes: Uint8Array | null;
  try {
    if (path !== "-") context.onRead?.(path);
    bytes = path === "-" ? await readAll(context.stdin()) : await readBounded(path);
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code ?? "";
    if (errno === "ENOENT" || errno === "ENOTDIR") {
      return refuse(
        "config-missing",
        "there is no such file",
        "shipper generate --sources file --sinks kafka > FILE writes one to begin with",
      );
    }
    if (errno === "EISDIR") {
      return refuse("config-is-directory", "it is a folder", "name each file by a --config of its own");
    }
    const reason = errno === "EACCES" || errno === "EPERM"
      ? "this user may not read it"
      : `the system says ${errno === "" ? quote(String((error as Error).message)) : errno}`;
    return refuse("config-unreadable", reason, "check the file's owner and mode: ls -l");
  }
  if (bytes === null) {
    return refuse("config-too-large", "it has more than 4 MiB", "name the configuration, not a log");
  }
  const text = decodeUtf8(bytes);
  if (typeof text !== "string") {
    const reason = `byte 0x${text.byte.toString(16).padStart(2, "0")} in line ${text.line} is not UTF-8`;
    return refuse("config-not-utf8", reason, "save the file as UTF-8");
  }
  if (text.trim() === "") {
    return refuse(
      "config-empty",
      "it is empty",
      "shipper generate --sources file --sinks kafka > FILE writes one to begin with",
    );
  }
  return { path, text };
}

/** Standard input can be read once: whoever reads it again gets what came then. */
export function readOnce(stdin: LoadFilesContext["stdin"]): LoadFilesContext["stdin"] {
  const kept: Uint8Array[] = [];
  let isRead = false;
  return async function* () {
    if (isRead) return yield* kept;
    isRead = true;
    for await (const chunk of stdin()) {
      kept.push(chunk);
      yield chunk;
    }
  };
}

/** Null when the file is too large. A pipe such as /dev/fd/63 has no size, and is read to its end. */
async function readBounded(path: string): Promise<Uint8Array | null> {
  const status = await stat(path);
  if (status.isDirectory()) throw Object.assign(new Error(`${path} is a folder`), { code: "EISDIR" });
  if (status.isFile()) return status.size > CONFIG_FILE_BYTES_MAX ? null : await readFile(path);
  return await readAll(Bun.file(path).stream());
}

async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array | null> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.length;
    if (sizeBytes > CONFIG_FILE_BYTES_MAX) return null;
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

/** The text, or the first byte that is not UTF-8 with its line. */
function decodeUtf8(bytes: Uint8Array): string | { byte: number; line: number } {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // What decodes leniently to the same bytes is good: the first difference is the bad byte.
    const lenient = Buffer.from(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
    let at = 0;
    while (at < bytes.length && lenient[at] === bytes[at]) at++;
    at = Math.min(at, bytes.length - 1);
    let line = 1;
    for (let index = 0; index < at; index++) if (bytes[index] === 10) line++;
    return { byte: bytes[at]!, line };
  }
}
