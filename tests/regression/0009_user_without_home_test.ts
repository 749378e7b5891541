// A user that is not in /etc/passwd, with no HOME either (containers, systemd's DynamicUser), could not start shipper at all: looking up
// the home folder threw. It is only wanted where data_dir is not set.
import { expect } from "bun:test";
import { chmodSync, copyFileSync } from "node:fs";
import { shipperBinary } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { tempDir } from "../support/temp_dir.ts";

const NOBODYS_ID = 61_234;
const FILE_SOURCE = `
[sources.app]
type = "file"
include = ["/var/log/*.log"]
[sinks.out]
type = "console"
inputs = ["app"]
`;

testIf(process.getuid?.() === 0, "needs root", "a user without a home can start shipper", () => {
  using dir = tempDir("no-home");
  // The user has to reach the binary, wherever the project lies.
  chmodSync(dir.path, 0o755);
  copyFileSync(shipperBinary(), dir.file("shipper"));
  chmodSync(dir.file("shipper"), 0o755);
  const ids = [`--reuid=${NOBODYS_ID}`, `--regid=${NOBODYS_ID}`, "--clear-groups"];
  const as = (...args: string[]) =>
    Bun.spawnSync(["setpriv", ...ids, dir.file("shipper"), ...args], {
      env: {},
      cwd: "/",
      stdin: Buffer.from(FILE_SOURCE),
    });
  expect(as("--version").stdout.toString()).toStartWith("shipper ");
  const refused = as("validate", "--config", "-");
  expect(refused.exitCode).toBe(78);
  expect(refused.stderr.toString()).toContain("error[no-data-dir]");
});
