import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const SOURCES = ["bytes.ts", "crc32c.ts", "kernels.ts", "lz4.ts", "snappy.ts"];

/** SHA-256 of the AssemblyScript sources, one after the other. */
export function kernelSourcesSha256(): string {
  const hash = createHash("sha256");
  for (const name of SOURCES) hash.update(readFileSync(new URL(name, import.meta.url)));
  return hash.digest("hex");
}
