import { join, resolve } from "node:path";

/** The project's folder. */
export const projectDir = resolve(import.meta.dir, "..", "..");

/** Downloads and other things that can be made again; not in git. */
export const cacheDir = join(projectDir, ".cache");
