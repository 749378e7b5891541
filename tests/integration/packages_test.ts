import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import packageJson from "../../package.json";
import { packDeb } from "../../scripts/lib/package_deb.ts";
import { packRpm } from "../../scripts/lib/package_rpm.ts";
import { packagedConfig, packagedUnit } from "../../scripts/lib/package_tree.ts";
import { sha256 } from "../../scripts/lib/release_files.ts";
import { runCommand } from "../../scripts/lib/run_command.ts";
import { parseArgs } from "../../src/cli/args.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { shipperBinary } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { tempDir } from "../support/temp_dir.ts";
import { canMountRoot, type InstalledRoot, installedRoot } from "../support/installed_root.ts";

const TIME = 1_700_000_000;
const dir = tempDir("packages");
const has = (command: string) => Bun.which(command) !== null;
const hasDpkg = process.arch === "x64" && has("dpkg-deb");
const hasRpm = process.arch === "x64" && has("rpmbuild") && has("rpm");
const noRoot = canMountRoot() ? null : "needs root and overlayfs";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);
afterAll(() => dir.remove());

function smallBinary(): string {
  writeFileSync(dir.file("small"), "a small program\n");
  return dir.file("small");
}

/** Packages of the binary that is tested, packed quickly; or of something small, where it is not started. */
function pack(kind: "deb" | "rpm", version: string, out: string, binary: string): Promise<string> {
  const outDir = dir.file(out);
  mkdirSync(outDir, { recursive: true });
  const options = { target: "linux-x64", binary, version, time: TIME, outDir, gzipLevel: 0 };
  return kind === "deb" ? packDeb(options) : packRpm(options);
}

const said = async (command: string, ...args: string[]) =>
  (await runCommand(command, args, { env: { TZ: "UTC", LC_ALL: "C.UTF-8" } })).stdout;

const COMMON_FILES = [
  "/etc/shipper/shipper.toml",
  "/usr/bin/shipper",
  "/usr/lib/systemd/system/shipper.service",
  "/usr/share/bash-completion/completions/shipper",
  "/usr/share/doc/shipper/copyright",
  "/usr/share/doc/shipper/docs/configuration.md",
  "/usr/share/fish/vendor_completions.d/shipper.fish",
  "/usr/share/man/man1/shipper.1.gz",
];

describe("what both are made of", () => {
  test("the unit has the package's user and program, and is as hardened as the one in archives", () => {
    const unit = packagedUnit();
    const start = /^ExecStart=(.*)$/m.exec(unit)![1]!.split(" ");
    expect(start[0]).toBe("/usr/bin/shipper");
    expect(parseArgs(start.slice(1))).toMatchObject({ configPaths: ["/etc/shipper/shipper.toml"] });
    expect(unit).toContain("\nExecReload=/bin/kill -HUP $MAINPID\n");
    expect(unit).toContain("\nUser=shipper\nGroup=shipper\n");
    expect(unit).not.toContain("DynamicUser");
    // What it would have implied.
    for (
      const line of [
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "PrivateTmp=yes",
        "RemoveIPC=yes",
        "NoNewPrivileges=yes",
        "RestrictSUIDSGID=yes",
        "StateDirectoryMode=0700",
      ]
    ) expect(unit).toContain(`\n${line}\n`);
  });

  test("the configuration names the data_dir of the service", () => {
    expect(packagedConfig()).toContain('\ndata_dir = "/var/lib/shipper"\n');
  });
});

describe("the .deb", () => {
  testIf(
    hasDpkg,
    "needs dpkg-deb",
    "holds what is to be installed, in the same bytes each time",
    async () => {
      const file = await pack("deb", packageJson.version, "out", smallBinary());
      expect(basename(file)).toBe(`shipper_${packageJson.version}-1_amd64.deb`);
      const control = await said("dpkg-deb", "--info", file);
      expect(control).toContain("Depends: libc6 (>= 2.17), passwd\n");
      expect(await said("dpkg-deb", "--info", file, "conffiles")).toBe("/etc/shipper/shipper.toml\n");
      const contents = await said("dpkg-deb", "--contents", file);
      const paths = [...contents.matchAll(/ \.(\/\S*)$/gm)].map(([, path]) => path);
      for (const path of [...COMMON_FILES, "/usr/share/zsh/vendor-completions/_shipper"]) {
        expect(paths).toContain(path);
      }
      expect(contents).toMatch(/^-rwxr-xr-x root\/root .* \.\/usr\/bin\/shipper$/m);
      for (const line of contents.trim().split("\n")) {
        expect(line).toMatch(/^(drwxr-xr-x|-rw-r--r--|-rwxr-xr-x) root\/root +\d+ 2023-11-14 22:13 /);
      }
      const again = await pack("deb", packageJson.version, "again", smallBinary());
      expect(await sha256(again)).toBe(await sha256(file));
    },
    120_000,
  );
});

describe("the .rpm", () => {
  testIf(
    hasRpm,
    "needs rpmbuild",
    "holds what is to be installed, in the same bytes each time",
    async () => {
      const file = await pack("rpm", packageJson.version, "out", smallBinary());
      expect(basename(file)).toBe(`shipper-${packageJson.version}-1.x86_64.rpm`);
      const list = await said(
        "rpm",
        "-qp",
        "--qf",
        "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME}\\n]",
        file,
      );
      const lines = list.trim().split("\n");
      const modes = new Map(lines.map((line) => [line.split(" ")[0]!, line.split(" ").slice(1).join(" ")]));
      for (const path of [...COMMON_FILES, "/usr/share/zsh/site-functions/_shipper"]) {
        expect([...modes.keys()]).toContain(path);
      }
      expect(modes.get("/usr/bin/shipper")).toBe("-rwxr-xr-x root:root");
      expect(modes.get("/etc/shipper/shipper.toml")).toBe("-rw-r----- root:shipper");
      expect(modes.get("/var/lib/shipper")).toBe("drwx------ shipper:shipper");
      expect(await said("rpm", "-qpc", file)).toBe("/etc/shipper/shipper.toml\n");
      expect(await said("rpm", "-qp", "--scripts", file)).toContain("useradd -r -g shipper");
      const again = await pack("rpm", packageJson.version, "again", smallBinary());
      expect(await sha256(again)).toBe(await sha256(file));
    },
    120_000,
  );
});

interface Tool {
  readonly install: (file: string) => string;
  readonly remove: string;
  readonly purge: string | null;
}

const DEB: Tool = {
  install: (file) => `dpkg --install ${file}`,
  remove: "dpkg --remove shipper",
  purge: "dpkg --purge shipper",
};
/** rpm knows nothing of what dpkg has installed here: what the package requires is there all the same. */
const RPM: Tool = {
  install: (file) => `rpm --upgrade --nodeps ${file}`,
  remove: "rpm --erase shipper",
  purge: null,
};

/** The whole life of a package in a root of its own, with the service's command line run as the service's user. */
async function livesItsLife(tool: Tool, packages: readonly [first: string, second: string]): Promise<void> {
  await using root: InstalledRoot = await installedRoot();
  const [first, second] = await Promise.all(packages.map((each) => root.bring(each)));
  const topic = await kafka.createTopic();
  // The index of all man pages of the machine would be made anew at each step.
  await root.run("rm -f /var/lib/man-db/auto-update");
  await root.run(tool.install(first!));
  expect(
    await root.run(
      "id -un shipper && stat -c '%a %U:%G' /var/lib/shipper /etc/shipper /etc/shipper/shipper.toml",
    ),
  ).toBe(
    "shipper\n700 shipper:shipper\n750 root:shipper\n640 root:shipper\n",
  );
  expect(await root.run("shipper --version")).toContain(packageJson.version);
  expect(await root.run("man --path shipper 2>/dev/null || ls /usr/share/man/man1/shipper.1.gz")).toContain(
    "/usr/share/man/man1/shipper.1.gz",
  );
  await root.run(
    "mkdir -p /var/log/app && printf 'one\\ntwo\\n' > /var/log/app/a.log && chgrp adm /var/log/app/a.log && chmod 640 /var/log/app/a.log",
  );
  await root.run(
    `sed -i 's/localhost:9092/${kafka.bootstrap}/; s/"logs" /"${topic}" /; s/^address = .*/enabled = false/' /etc/shipper/shipper.toml`,
  );
  const start = /^ExecStart=(.*)$/m.exec(await root.run("cat /usr/lib/systemd/system/shipper.service"))![1]!;
  const asUser =
    "XDG_STATE_HOME=/var/lib setpriv --reuid shipper --regid shipper --groups adm --bounding-set=-all";
  await root.run(`umask 077; ${asUser} ${start} --once`);
  expect((await kafka.waitForRecords(topic, 2)).length).toBe(2);
  expect(await root.run(`${asUser} shipper check --config /etc/shipper/shipper.toml`)).toContain("Ready: ");
  const edited = await root.run("cat /etc/shipper/shipper.toml");

  // An upgrade keeps configuration, data and modes.
  await root.run("chmod 600 /etc/shipper/shipper.toml && chown shipper /etc/shipper/shipper.toml");
  await root.run(tool.install(second!));
  expect(await root.run("cat /etc/shipper/shipper.toml")).toBe(edited);
  expect(await root.run("stat -c '%a %U' /etc/shipper/shipper.toml")).toBe("600 shipper\n");
  await root.run("printf 'three\\n' >> /var/log/app/a.log");
  await root.run(`umask 077; ${asUser} ${start} --once`);
  expect((await kafka.waitForRecords(topic, 3)).length).toBe(3);

  // A removal keeps configuration and data.
  await root.run(tool.remove);
  await root.run("test ! -e /usr/bin/shipper && test -d /var/lib/shipper/journal");
  expect(
    await root.run("cat /etc/shipper/shipper.toml /etc/shipper/shipper.toml.rpmsave 2>/dev/null || true"),
  ).toBe(edited);
  if (tool.purge === null) return;
  await root.run("touch /etc/shipper/environment");
  await root.run(tool.purge);
  await root.run(
    "test ! -e /var/lib/shipper && test ! -e /etc/shipper/shipper.toml && test -e /etc/shipper/environment",
  );
  await root.run("! getent passwd shipper");
}

describe("installed in a root of its own, upgraded, removed", () => {
  testIf(hasDpkg && noRoot === null, noRoot ?? "needs dpkg-deb", "the .deb", async () => {
    const packages = await Promise.all([
      pack("deb", "0.0.1", "out", shipperBinary()),
      pack("deb", "0.0.2", "out", shipperBinary()),
    ]);
    await livesItsLife(DEB, packages);
  }, 240_000);

  testIf(
    hasRpm && noRoot === null,
    noRoot ?? "needs rpmbuild",
    "the .rpm",
    async () => {
      const packages = await Promise.all([
        pack("rpm", "0.0.1", "out", shipperBinary()),
        pack("rpm", "0.0.2", "out", shipperBinary()),
      ]);
      await livesItsLife(RPM, packages);
    },
    120_000,
  );
});

/** Takes systemctl's place: writes down what it is called with, as if systemd ran. */
const KEPT_CALLS = "/var/log/systemctl-calls";
const FAKE_SYSTEMCTL = `#!/bin/sh\necho "$*" >> ${KEPT_CALLS}\n`;

/** What a package tells systemd when it is installed, upgraded and removed, and whether systemd takes the unit and enables it. */
async function tellsSystemd(tool: Tool, kind: "deb" | "rpm"): Promise<void> {
  const [first, second] = await Promise.all([
    pack(kind, "0.0.1", `systemd-${kind}`, smallBinary()),
    pack(kind, "0.0.2", `systemd-${kind}`, smallBinary()),
  ]);
  await using root = await installedRoot();
  const [one, two] = [root.bring(first), root.bring(second)];
  await root.run("rm -f /var/lib/man-db/auto-update && mkdir -p /run/systemd/system");
  const real = await root.run(
    "mv /usr/bin/systemctl /usr/bin/systemctl.real 2>/dev/null && echo yes || true",
  );
  await root.run(`printf '%s' '${FAKE_SYSTEMCTL}' > /usr/bin/systemctl && chmod 755 /usr/bin/systemctl`);
  const calls = async (script: string) => {
    await root.run(`: > ${KEPT_CALLS}; ${script}`);
    const all = (await root.run(`cat ${KEPT_CALLS}`)).trim().split("\n");
    // Other packages' triggers may tell it something as well.
    return all.filter((line) => line.includes("daemon-reload") || line.includes("shipper"));
  };
  const reloads = (lines: readonly string[]) => lines.filter((line) => line.endsWith("daemon-reload"));
  const others = (lines: readonly string[]) => lines.filter((line) => !line.endsWith("daemon-reload"));
  const installed = await calls(tool.install(one));
  expect(reloads(installed).length).toBeGreaterThan(0);
  // It has to be told first what to ship where.
  expect(others(installed)).toEqual([]);
  // Nothing differs from what the package says, modes and owners included.
  const verify = kind === "rpm" ? "rpm --verify --nodeps shipper" : "dpkg --verify shipper";
  expect(await root.run(verify)).toBe("");
  if (real !== "" && has("systemd-analyze")) {
    // It warns of units of others, too.
    const said = await root.run(
      "systemd-analyze verify /usr/lib/systemd/system/shipper.service 2>&1 || true",
    );
    expect(said.split("\n").filter((line) => line.includes("shipper.service"))).toEqual([]);
    await root.run("systemctl.real --root=/ enable shipper.service 2>/dev/null");
    expect(await root.run("readlink /etc/systemd/system/multi-user.target.wants/shipper.service")).toContain(
      "systemd/system/shipper.service",
    );
  }
  expect(others(await calls(tool.install(two)))).toEqual(["try-restart shipper.service"]);
  expect(others(await calls(tool.remove))).toEqual(["disable --now shipper.service"]);
}

describe("with systemd", () => {
  testIf(
    hasDpkg && noRoot === null,
    noRoot ?? "needs dpkg-deb",
    "the .deb reloads it, restarts what runs, stops what is removed; nothing is started by itself",
    () => tellsSystemd(DEB, "deb"),
    120_000,
  );
  testIf(
    hasRpm && noRoot === null,
    noRoot ?? "needs rpmbuild",
    "the .rpm does the same",
    () => tellsSystemd(RPM, "rpm"),
    120_000,
  );
});

testIf(
  hasRpm && process.getuid?.() === 0,
  hasRpm ? "needs root" : "needs rpmbuild",
  "the .rpm can be unpacked into an empty root, runs there, and leaves nothing behind",
  async () => {
    const file = await pack("rpm", "0.0.1", "empty", shipperBinary());
    const root = dir.file("empty-root");
    mkdirSync(root);
    // Without scripts: there is no shell in it.
    const rpm = (...args: string[]) => said("rpm", "--root", root, ...args);
    await rpm("--install", "--nodeps", "--noscripts", file);
    expect(await said(`${root}/usr/bin/shipper`, "--version")).toContain(packageJson.version);
    const files = (await rpm("--query", "--list", "shipper")).trim().split("\n");
    for (const path of COMMON_FILES) expect(files).toContain(path);
    // Who owns them is the group "shipper", which an empty root does not have.
    expect(await rpm("--verify", "--nodeps", "--nouser", "--nogroup", "shipper")).toBe("");
    await rpm("--erase", "--nodeps", "--noscripts", "shipper");
    expect(files.filter((path) => existsSync(`${root}${path}`))).toEqual([]);
  },
  60_000,
);
