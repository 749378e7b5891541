import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectDir } from "../../scripts/lib/project.ts";
import { parseArgs } from "../../src/cli/args.ts";
import { topGroup } from "../../src/config/options_top.ts";
import { EXIT_CONFIG } from "../../src/errors.ts";
import { testIf } from "../support/skip.ts";
import { tempDir } from "../support/temp_dir.ts";

const unitText = readFileSync(join(projectDir, "packaging", "systemd", "shipper.service"), "utf8");
const dockerfile = readFileSync(join(projectDir, "packaging", "Dockerfile"), "utf8");

/** Values by key; a key may be given several times. */
const unit = new Map<string, string[]>();
for (const [, key, value] of unitText.matchAll(/^(\w+)=(.*)$/gm)) {
  unit.set(key!, [...unit.get(key!) ?? [], value!]);
}
const only = (key: string) => {
  expect([key, unit.get(key)?.length]).toEqual([key, 1]);
  return unit.get(key)![0]!;
};

describe("the systemd unit", () => {
  test("lets it write its state and nothing else, and gain no rights", () => {
    const wanted = {
      DynamicUser: "yes",
      NoNewPrivileges: "yes",
      ProtectSystem: "strict",
      ProtectHome: "read-only",
      PrivateTmp: "yes",
      PrivateDevices: "yes",
      ProtectKernelTunables: "yes",
      ProtectKernelModules: "yes",
      ProtectKernelLogs: "yes",
      ProtectControlGroups: "yes",
      RestrictNamespaces: "yes",
      RestrictSUIDSGID: "yes",
      LockPersonality: "yes",
      CapabilityBoundingSet: "",
      StateDirectory: "shipper",
      StateDirectoryMode: "0700",
      UMask: "0077",
      SupplementaryGroups: "adm",
    };
    for (const [key, value] of Object.entries(wanted)) expect([key, only(key)]).toEqual([key, value]);
    expect(unit.get("SystemCallFilter")).toEqual(["@system-service", "~@privileged @resources"]);
    // The runtime compiles while it runs: the service would not start.
    expect(unit.has("MemoryDenyWriteExecute")).toBe(false);
  });

  test("starts it as its command line allows, with data_dir where the state is", () => {
    const [program, ...args] = only("ExecStart").split(" ");
    expect(program).toBe("/usr/local/bin/shipper");
    expect(only("ExecReload")).toBe("/bin/kill -HUP $MAINPID");
    expect(parseArgs(args)).toMatchObject({ command: "run", configPaths: ["/etc/shipper/shipper.toml"] });
    expect(unit.get("Environment")).toEqual(["UV_THREADPOOL_SIZE=16", "XDG_STATE_HOME=/var/lib"]);
  });

  test("starts it again after a failure, but not for a wrong configuration or command line", () => {
    expect(only("Restart")).toBe("on-failure");
    expect(only("RestartPreventExitStatus")).toBe(`${EXIT_CONFIG} 2`);
    expect(only("StartLimitIntervalSec")).toBe("0");
  });

  test("gives it time to deliver what it has read", () => {
    const option = topGroup.options.shutdown_timeout_secs!;
    expect(Number(only("TimeoutStopSec"))).toBeGreaterThan((option.default as number) + 5);
    expect(Number(only("LimitNOFILE"))).toBeGreaterThanOrEqual(8192);
  });

  testIf(
    Bun.which("systemd-analyze") !== null,
    "needs systemd-analyze",
    "has nothing that systemd does not know",
    () => {
      using dir = tempDir("unit");
      // The program is not installed on the machine that runs the tests.
      writeFileSync(
        dir.file("shipper.service"),
        unitText.replaceAll("/usr/local/bin/shipper", process.execPath),
      );
      const { stdout, stderr } = Bun.spawnSync(["systemd-analyze", "verify", dir.file("shipper.service")]);
      const said = (stdout.toString() + stderr.toString()).split("\n");
      expect(said.filter((line) => line.includes("shipper.service"))).toEqual([]);
    },
  );
});

describe("the image", () => {
  test("runs as a user without rights and keeps its positions in a volume", () => {
    expect(dockerfile).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m);
    expect(dockerfile).toMatch(/^VOLUME \/var\/lib\/shipper$/m);
    expect(dockerfile).toMatch(/^ENV XDG_STATE_HOME=\/var\/lib$/m);
    expect(dockerfile).toContain("sha256sum --check");
    const cmd = JSON.parse(/^CMD (\[.*\])$/m.exec(dockerfile)![1]!) as string[];
    expect(parseArgs(cmd).command).toBe("run");
  });
});
