import fs from "node:fs";

/** Where systemd and D-Bus keep the id of a host. */
const MACHINE_ID_FILES = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/** What tells a data_dir from a copy of it: which host it is on, and which inode it has. Device numbers change at a boot. */
export function originOf(dataDir: string): { machineId: string; dataDirInode: string } {
  const { ino, birthtimeNs } = fs.statSync(dataDir, { bigint: true });
  return { machineId: machineId(), dataDirInode: `${ino}:${birthtimeNs}` };
}

function machineId(): string {
  for (const file of MACHINE_ID_FILES) {
    try {
      return fs.readFileSync(file, "utf8").trim();
    } catch {
      continue; // not every host has one
    }
  }
  return "";
}
