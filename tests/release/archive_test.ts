import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { chmodSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import packageJson from "../../package.json";
import { projectDir } from "../../scripts/lib/project.ts";
import { packArchive } from "../../scripts/lib/release_archive.ts";
import { runCommand } from "../../scripts/lib/run_command.ts";
import { thirdPartyLicenses } from "../../scripts/lib/third_party_licenses.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

const TIME = 1_700_000_000;

async function pack(dir: TempDir, target: string): Promise<string> {
  const binary = dir.file(`binary-${target}`);
  writeFileSync(binary, "a small program\n");
  chmodSync(binary, 0o700);
  return await packArchive({ target, binary, version: "1.2.3", time: TIME, releaseDir: dir.path });
}

const list = async (archive: string, ...flags: string[]) =>
  (await runCommand("tar", ["-tzf", archive, ...flags], { env: { TZ: "UTC" } })).stdout.trim().split("\n");

describe("an archive", () => {
  test("holds the binary, the documents, and on Linux the unit, in one folder", async () => {
    using dir = tempDir("archive");
    const name = "shipper-1.2.3-linux-x64";
    const entries = await list(await pack(dir, "linux-x64"));
    const docs = readdirSync(join(projectDir, "docs")).sort().map((each) => `${name}/docs/${each}`);
    const files = [
      "shipper",
      "LICENSE",
      "README.md",
      "CHANGELOG.md",
      "config.example.toml",
      "shipper.service",
    ];
    expect(entries.toSorted()).toEqual(
      [
        `${name}/`,
        `${name}/docs/`,
        ...docs,
        ...[...files, "THIRD_PARTY_LICENSES.txt"].map((each) => `${name}/${each}`),
      ].sort(),
    );
    expect(entries.filter((each) => /installing|delivery|configuration/.test(each))).toHaveLength(3);
    const onMac = await list(await pack(dir, "darwin-arm64"));
    expect(onMac.join("\n")).not.toContain("shipper.service");
    expect(onMac).toContain("shipper-1.2.3-darwin-arm64/shipper");
  });

  test("gives nothing away about who made it, and can be executed by everyone", async () => {
    using dir = tempDir("archive");
    for (
      const line of await list(await pack(dir, "linux-x64"), "--verbose", "--numeric-owner", "--full-time")
    ) {
      expect(line).toMatch(/^(d|-)rw(x|-)r-(x|-)r-(x|-) 0\/0 +\d+ 2023-11-14 22:13:20 /);
      if (line.endsWith("/shipper")) expect(line).toStartWith("-rwxr-xr-x");
    }
  });

  test("has the same bytes every time, whenever and from whatever times of files it is made", async () => {
    using first = tempDir("archive-a");
    using second = tempDir("archive-b");
    const hash = async (dir: TempDir) =>
      createHash("sha256").update(readFileSync(await pack(dir, "linux-arm64"))).digest("hex");
    const wanted = await hash(first);
    writeFileSync(second.file("binary-linux-arm64"), "");
    utimesSync(second.file("binary-linux-arm64"), 1, 1);
    expect(await hash(second)).toBe(wanted);
  });

  test("leaves nothing beside it", async () => {
    using dir = tempDir("archive");
    await pack(dir, "linux-x64");
    expect(readdirSync(dir.path).sort()).toEqual(["binary-linux-x64", "shipper-1.2.3-linux-x64.tar.gz"]);
  });
});

test("the licenses of everything that is compiled in come with it", async () => {
  const text = await thirdPartyLicenses(projectDir);
  const names = [...Object.keys(packageJson.dependencies), "eslint-visitor-keys"];
  for (const name of names) expect(text).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+$`, "m"));
  expect(text.match(/Permission is hereby granted|Apache License/g)!.length).toBeGreaterThanOrEqual(
    names.length,
  );
  expect(text).toContain("JavaScriptCore");
});
