import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { SecretFile } from "../config/secret_file.ts";

/** A larger file holds no password, pass phrase or login. */
export const SECRET_FILE_BYTES_MAX = 65_536;

/**
 * Reads a secret from a file, or from a pipe such as /dev/fd/63. One newline at its end is taken away, as editors and `echo` add it;
 * nothing else is changed.
 */
export function readSecretFile(path: string): SecretFile {
  if (path.trim() === "" || path.includes("\0")) {
    return refuse("it names no file", 'write a path, such as "/run/secrets/kafka"');
  }
  let bytes: Uint8Array | null;
  try {
    bytes = readBounded(path);
  } catch (error) {
    return refuse(...readingProblem(error as NodeJS.ErrnoException));
  }
  if (bytes === null) return refuse("it has more than 64 KiB", "name a file that holds the secret alone");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    // The decoder's own words may hold bytes of the secret.
    return refuse("it is not UTF-8", "save the file as UTF-8");
  }
  const secret = text.replace(/\r?\n$/u, "");
  if (secret === "") return refuse("it is empty", "write the secret into it");
  if (secret.includes("\0")) return refuse("it holds a NUL", "name a file that holds the secret as text");
  return { ok: true, text: secret };
}

/** Null when there is too much. Synchronous: it is read once, before anything runs. */
function readBounded(path: string): Uint8Array | null {
  const descriptor = openSync(path, "r");
  try {
    if (fstatSync(descriptor).isDirectory()) throw Object.assign(new Error("a folder"), { code: "EISDIR" });
    const bytes = new Uint8Array(SECRET_FILE_BYTES_MAX + 1);
    let sizeBytes = 0;
    while (sizeBytes < bytes.length) {
      const count = readSync(descriptor, bytes, sizeBytes, bytes.length - sizeBytes, null);
      if (count === 0) return bytes.subarray(0, sizeBytes);
      sizeBytes += count;
    }
    return null;
  } finally {
    closeSync(descriptor);
  }
}

function readingProblem({ code, message }: NodeJS.ErrnoException): [reason: string, hint: string] {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return ["there is no such file", "create it, or name another one"];
    case "EISDIR":
      return ["it is a folder", "name the file in it"];
    case "EACCES":
    case "EPERM":
      return ["this user may not read it", "check the file's owner and mode: ls -l"];
    default:
      return [`the system says ${code ?? JSON.stringify(message)}`, "check the file: ls -l"];
  }
}

function refuse(reason: string, hint: string): SecretFile {
  return { ok: false, reason, hint };
}
