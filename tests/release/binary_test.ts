import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import packageJson from "../../package.json";
import { lockedPackage, TARGETS } from "../../scripts/lib/bun_executable.ts";
import { checkExecutable, parseHeader, readHeader } from "../../scripts/lib/executable_header.ts";
import { projectDir } from "../../scripts/lib/project.ts";
import { isVersion } from "../../scripts/lib/try_executable.ts";
import { commands } from "../../src/cli/commands.ts";
import { runShipper, shipperBinary } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

const lockText = readFileSync(join(projectDir, "bun.lock"), "utf8");

/** tests/integration/test_build_test.ts finds them in the test build. */
const TEST_BUILD_TEXTS = [
  "SHIPPER_CRASH_AT",
  "SHIPPER_TEST_FIRST_SEQUENCE",
  "SHIPPER_TEST_RECHECK_MS",
  "SHIPPER_TEST_FILE_FAULTS",
];

describe("the binary", () => {
  test("prints the version of package.json", async () => {
    const { code, stdout, stderr } = await runShipper({ args: ["--version"] });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^shipper \S+( \([0-9a-f]+\+?\))?\n$/);
    expect(isVersion(stdout.trim(), packageJson.version)).toBe(true);
  });

  test("prints a help with every flag", async () => {
    const { code, stdout, stderr } = await runShipper({ args: ["--help"] });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const { name } of commands.flatMap((command) => command.flags)) {
      expect(stdout).toContain(`--${name}`);
    }
  });

  test("is built to obey no .env and no bunfig.toml", () => {
    const build = readFileSync(join(projectDir, "scripts", "build.ts"), "utf8");
    expect(build).toContain('"--no-compile-autoload-dotenv"');
    expect(build).toContain('"--no-compile-autoload-bunfig"');
    expect(build).not.toMatch(/"--compile-autoload|"--env-file|"--config/);
  });

  test("has nothing of the test build in it", async () => {
    const bytes = readFileSync(shipperBinary());
    for (const text of TEST_BUILD_TEXTS) {
      for (const encoding of ["utf8", "utf16le"] as const) {
        expect(bytes.includes(Buffer.from(text, encoding)), `${text} in ${encoding}`).toBe(false);
      }
    }
    // A text that is there proves that the search finds one.
    expect(bytes.includes("require-healthy")).toBe(true);
    const env = { SHIPPER_CRASH_AT: "nonsense", SHIPPER_TEST_FIRST_SEQUENCE: "x", SHIPPER_TEST_BUILD: "1" };
    expect(await runShipper({ args: ["--version"], env })).toMatchObject({ code: 0, stderr: "" });
  });

  test("has the header of this machine", () => {
    const header = readHeader(shipperBinary());
    expect(header.machine).toBe(process.arch as typeof header.machine);
    expect(header.format).toBe(process.platform === "darwin" ? "Mach-O" : "ELF");
  });
});

test("a version is the one wanted, with or without a commit", () => {
  expect(isVersion("shipper 1.2.3", "1.2.3")).toBe(true);
  expect(isVersion("shipper 1.2.3 (0a1b2c3+)", "1.2.3")).toBe(true);
  expect(isVersion("shipper 1.2.30", "1.2.3")).toBe(false);
  expect(isVersion("shipper 1.2.2 (1.2.3)", "1.2.3")).toBe(false);
});

describe("the Bun of every target", () => {
  test("is pinned in bun.lock, in the version that builds here", () => {
    for (const name of Object.values(TARGETS)) {
      const { version, integrity } = lockedPackage(lockText, name);
      expect(version).toBe(packageJson.devDependencies.bun);
      expect(Buffer.from(integrity.slice("sha512-".length), "base64")).toHaveLength(64);
    }
  });

  test("is not taken without a hash", () => {
    expect(() => lockedPackage(lockText, "@oven/bun-plan9")).toThrow(
      'bun.lock has no entry for "@oven/bun-plan9"',
    );
    expect(() => lockedPackage('{"packages": {"a": ["a@1.0.0", "", {}, "sha1-x"]}}', "a")).toThrow(
      "no SHA-512",
    );
    expect(() => lockedPackage("{}", "a")).toThrow("no entry");
  });
});

/** The first bytes of an ELF file with one program header of type PT_INTERP. */
function elf(machine: number, interpreter: string): Buffer {
  const bytes = Buffer.alloc(256);
  bytes.write("\x7fELF\x02\x01\x01", "latin1");
  bytes.writeUInt16LE(machine, 18);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(1, 56);
  bytes.writeUInt32LE(3, 64);
  bytes.writeBigUInt64LE(128n, 72);
  bytes.writeBigUInt64LE(BigInt(interpreter.length + 1), 96);
  bytes.write(interpreter, 128, "latin1");
  return bytes;
}

/** The first bytes of a Mach-O file with these load commands of eight bytes. */
function machO(cpu: number, commandIds: readonly number[]): Buffer {
  const bytes = Buffer.alloc(32 + commandIds.length * 8);
  bytes.writeUInt32LE(0xfeedfacf, 0);
  bytes.writeUInt32LE(cpu, 4);
  bytes.writeUInt32LE(commandIds.length, 16);
  commandIds.forEach((id, index) => {
    bytes.writeUInt32LE(id, 32 + index * 8);
    bytes.writeUInt32LE(8, 36 + index * 8);
  });
  return bytes;
}

describe("headers", () => {
  test("of ELF files name machine and loader", () => {
    expect(parseHeader(elf(183, "/lib/ld-linux-aarch64.so.1"))).toEqual({
      format: "ELF",
      machine: "arm64",
      interpreter: "/lib/ld-linux-aarch64.so.1",
      isSigned: false,
    });
    expect(() => parseHeader(elf(8, "/lib/ld.so"))).toThrow("ELF machine 8 is none of ours");
  });

  test("of Mach-O files tell whether there is a signature", () => {
    expect(parseHeader(machO(0x0100000c, [0x19, 0x1d]))).toMatchObject({ format: "Mach-O", isSigned: true });
    expect(parseHeader(machO(0x0100000c, [0x19]))).toMatchObject({ machine: "arm64", isSigned: false });
  });

  test("of anything else are refused", () => {
    expect(() => parseHeader(Buffer.from("#!/bin/sh\n"))).toThrow("too short");
    expect(() => parseHeader(Buffer.alloc(64))).toThrow("neither");
  });

  test("are compared with the target", async () => {
    using dir = tempDir("headers");
    const path = dir.file("shipper");
    await Bun.write(path, elf(62, "/lib64/ld-linux-x86-64.so.2"));
    checkExecutable(path, "linux-x64");
    expect(() => checkExecutable(path, "linux-arm64")).toThrow("machine is x64, not arm64");
    expect(() => checkExecutable(path, "linux-x64-musl")).toThrow("not /lib/ld-musl-x86_64.so.1");
    await Bun.write(path, machO(0x0100000c, []));
    expect(() => checkExecutable(path, "darwin-arm64")).toThrow("isSigned is false, not true");
  });
});
