import fs from "node:fs";

const PID_BYTES_MAX = 32;

/**
 * The process that has the lock of a data_dir, null for nobody, "unknown" where it cannot be found out. The lock itself is not tried: to hold it for
 * a moment would end a shipper that starts in that moment. The kernel lists locks with the inode of their file:
 *
 *     7: FLOCK  ADVISORY  WRITE 4711 fe:01:12345 0 EOF
 */
export function lockOwner(lockPath: string, locksPath = "/proc/locks"): number | null | "unknown" {
  let ino: number;
  let device: string;
  let named: number | null;
  let locks: string;
  try {
    const stat = fs.statSync(lockPath);
    ino = stat.ino;
    device = deviceText(stat.dev);
    named = pidIn(lockPath);
  } catch {
    return null; // nobody has made it
  }
  try {
    locks = fs.readFileSync(locksPath, "latin1");
  } catch {
    return "unknown";
  }
  for (const [, pid, on, inode] of locks.matchAll(/FLOCK\s+\S+\s+\S+\s+(-?\d+)\s+(\S+:\S+):(\d+)\s/g)) {
    // Another file system may have a file of the same number. Layered ones show another device than the list does: there the pid in the file tells.
    if (Number(inode) === ino && (on === device || Number(pid) === named)) return Number(pid);
  }
  return null;
}

/** As the kernel's list writes it: "fe:01", hexadecimal. */
function deviceText(dev: number): string {
  const major = Math.floor(dev / 0x100) & 0xfff;
  const minor = (dev & 0xff) | (Math.floor(dev / 0x1000) & 0xfff00);
  return [major, minor].map((each) => each.toString(16).padStart(2, "0")).join(":");
}

function pidIn(lockPath: string): number | null {
  const fd = fs.openSync(lockPath, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  try {
    const buffer = Buffer.alloc(PID_BYTES_MAX);
    const text = buffer.toString("latin1", 0, fs.readSync(fd, buffer, 0, PID_BYTES_MAX, 0)).trim();
    return /^\d+$/.test(text) ? Number(text) : null;
  } finally {
    fs.closeSync(fd);
  }
}
