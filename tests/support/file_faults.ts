import type { FileFault } from "../../src/telemetry/test_knobs.ts";

/** A fault of a test build's files, as its environment names it: `path` is the text of a pattern. */
export type FaultText = Omit<FileFault, "path"> & { readonly path: string };

/** The environment that lets a test build's files fail. */
export function faultsEnv(...faults: readonly FaultText[]) {
  return { SHIPPER_TEST_FILE_FAULTS: JSON.stringify(faults) };
}
