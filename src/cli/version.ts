import packageJson from "../../package.json";

/** "0.1.0", or "0.1.0 (1a2b3c4)" in a binary that was built from a checkout. SHIPPER_COMMIT is put in by scripts/build. */
export function version(): string {
  const commit = process.env.SHIPPER_COMMIT ?? "";
  return commit === "" ? packageJson.version : `${packageJson.version} (${commit})`;
}
