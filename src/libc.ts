import { dlopen, type FFIFunction, type Library } from "bun:ffi";

/** The C library's name by platform: glibc, musl, macOS. The first one that loads is taken. */
const NAMES: readonly string[] = process.platform === "darwin"
  ? ["libSystem.B.dylib"]
  : ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1", "libc.so"];

/** Functions of the C library, for what Bun does not offer; null where they cannot be had. */
export function openLibc<T extends Record<string, FFIFunction>>(functions: T): Library<T> | null {
  for (const name of NAMES) {
    try {
      return dlopen(name, functions);
    } catch {
      // Not this platform's name.
    }
  }
  return null;
}
