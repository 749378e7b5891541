import { brokerVersion } from "../../scripts/lib/kafka_files.ts";

/** Whether the brokers of this run are of this version or a later one: `scripts/compat` runs tests with older ones. */
export function isBrokerAtLeast(major: number, minor: number): boolean {
  const [hasMajor = 0, hasMinor = 0] = brokerVersion().split(".").map(Number);
  return hasMajor > major || (hasMajor === major && hasMinor >= minor);
}
