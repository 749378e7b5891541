import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { runCommand } from "../../scripts/lib/run_command.ts";

/** Room for a journal and its spare files. */
const SIZE_BYTES = 512 * 1_048_576;
const SECTOR_BYTES = 512;
/** Tables are made at once and not later in the background, where they would be taken for somebody's writes. */
const MKFS = ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"];

/**
 * A filesystem (ext4) of its own on a loop device, so that what is written to the device is what one program wrote, with the filesystem's own
 * journal and tables. Needs root.
 */
export class LoopDisk {
  /** Where it is mounted. */
  readonly path: string;
  readonly #image: string;
  readonly #device: string;
  readonly #onExit = () => this.#release();
  #isReleased = false;

  private constructor(path: string, image: string, device: string) {
    this.path = path;
    this.#image = image;
    this.#device = device;
    process.on("exit", this.#onExit);
  }

  static get isPossible(): boolean {
    return process.getuid?.() === 0;
  }

  /** Makes and mounts one in the folder `dir`. Rejects with what the system's programs say. */
  static async mount(dir: string): Promise<LoopDisk> {
    const image = join(dir, "disk.img");
    const path = join(dir, "disk");
    writeFileSync(image, "");
    truncateSync(image, SIZE_BYTES);
    await runCommand("mkfs.ext4", [...MKFS, image]);
    mkdirSync(path);
    const device = (await runCommand("losetup", ["--find", "--show", image])).stdout.trim();
    const disk = new LoopDisk(path, image, device);
    try {
      await runCommand("mount", ["-t", "ext4", "-o", "noatime", device, path]);
    } catch (error) {
      disk.remove();
      throw error;
    }
    return disk;
  }

  /** Bytes that were written to the device so far; everything that was waiting is written first. */
  async writtenBytes(): Promise<number> {
    await runCommand("sync", ["--file-system", this.path]);
    return writtenSectors(readFileSync(`/sys/block/${basename(this.#device)}/stat`, "latin1")) * SECTOR_BYTES;
  }

  /** Unmounts it and removes the image. */
  remove(): void {
    process.off("exit", this.#onExit);
    this.#release();
  }

  #release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    spawnSync("umount", [this.path]);
    spawnSync("losetup", ["--detach", this.#device]);
    rmSync(this.#image, { force: true });
  }
}

/** Sectors of 512 bytes that were written, from the text of /sys/block/DEVICE/stat (Documentation/block/stat.rst: the seventh figure). */
export function writtenSectors(stat: string): number {
  return Number(stat.trim().split(/\s+/)[6]);
}
