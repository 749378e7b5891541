import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { type TempDir, tempDir } from "../../support/temp_dir.ts";
import { require } from "./program.ts";

/** Runs a command to its end. Throws when it fails. */
export function mustRun(...command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command);
  require(exitCode === 0, `"${command.join(" ")}" failed: ${stderr}`);
}

const IMAGE_MB = 24;

/** A file system in a file: a copy of the file is what a power cut would have left of it. */
export class LoopDisk implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly mountPath: string;

  constructor() {
    this.#dir = tempDir("disk");
    this.mountPath = this.#dir.file("mount");
    mkdirSync(this.mountPath);
    writeFileSync(this.#image, "");
    mustRun("truncate", "-s", `${IMAGE_MB}M`, this.#image);
    mustRun("mkfs.ext4", "-q", "-F", this.#image);
    this.mount();
  }

  mount(): void {
    mustRun("mount", "-o", "loop", this.#image, this.mountPath);
  }

  /** What has reached the disk by now. */
  keepImage(): void {
    copyFileSync(this.#image, this.#dir.file("copy"));
  }

  /** The disk is what was kept; nothing may have a file of it open. */
  bringBack(): void {
    mustRun("umount", this.mountPath);
    mustRun("cp", "--sparse=always", this.#dir.file("copy"), this.#image);
    this.mount();
  }

  get #image(): string {
    return this.#dir.file("image");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    Bun.spawnSync(["umount", "-l", this.mountPath]);
    await Bun.sleep(100);
    this.#dir.remove();
  }
}
