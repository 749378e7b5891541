import { type FSWatcher, watch } from "node:fs";
import type { Log } from "../telemetry/log.ts";
import type { FileMarks } from "./file_marks.ts";

/** The files are looked at this often, whatever the kernel tells: not every filesystem tells, and a folder may be replaced. */
export const WATCH_POLL_MS = 5_000;
/** Files that change are left alone for so long: an editor writes in several steps, and several files may belong together. */
export const SETTLE_MS = 500;
/** Between an event and a look: a folder may be full of files that are written to. */
const LOOK_PAUSE_MS = 50;
/** Folders that are watched; the files of others are looked at by the poll alone. */
const FOLDERS_MAX = 64;

export interface ConfigWatchOptions {
  /** Files that have settled in another state than they were read in. */
  readonly onChange: () => void;
  readonly log: Log;
  readonly pollMs?: number;
  readonly settleMs?: number;
}

/**
 * Watches the files that a configuration came from: writes in place, files that are renamed over them, links that are turned to other targets (as
 * Kubernetes does with a ConfigMap).
 */
export class ConfigWatch {
  readonly #options: ConfigWatchOptions;
  #marks: FileMarks | null = null;
  /** In which state they were when they were read, or told of. */
  #known = "";
  /** In which state they were at the last look. */
  #seen = "";
  #watchers: FSWatcher[] = [];
  #poll: ReturnType<typeof setInterval> | null = null;
  #settling: ReturnType<typeof setTimeout> | null = null;
  #looking: ReturnType<typeof setTimeout> | null = null;

  constructor(options: ConfigWatchOptions) {
    this.#options = options;
  }

  /** These files were read, in these states: what was watched before is not any more. */
  watch(marks: FileMarks): void {
    this.stop();
    this.#marks = marks;
    this.#known = this.#seen = marks.then();
    for (const folder of [...marks.folders].slice(0, FOLDERS_MAX)) this.#watchFolder(folder);
    this.#poll = setInterval(() => void this.#look(), this.#options.pollMs ?? WATCH_POLL_MS);
    this.#poll.unref();
    // They may have changed since they were read.
    void this.#look();
  }

  /** Nothing is told any more. */
  stop(): void {
    this.#marks = null;
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
    if (this.#poll !== null) clearInterval(this.#poll);
    if (this.#settling !== null) clearTimeout(this.#settling);
    if (this.#looking !== null) clearTimeout(this.#looking);
    this.#looking = null;
    this.#poll = null;
    this.#settling = null;
  }

  #watchFolder(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#lookSoon());
      watcher.on("error", () => watcher.close());
      this.#watchers.push(watcher);
    } catch (error) {
      this.#options.log.debug(`Cannot watch "${folder}" (${error}): its files are looked at now and then`);
    }
  }

  /** Something happened in a folder, which may be full of files that are written to. */
  #lookSoon(): void {
    if (this.#looking !== null) return;
    this.#looking = setTimeout(() => {
      this.#looking = null;
      void this.#look();
    }, LOOK_PAUSE_MS);
    this.#looking.unref();
  }

  async #look(): Promise<void> {
    const marks = this.#marks;
    if (marks === null) return;
    const state = await marks.now();
    if (this.#marks === marks) this.#saw(state);
  }

  #saw(state: string): void {
    if (state === this.#seen) return;
    this.#seen = state;
    if (this.#settling !== null) clearTimeout(this.#settling);
    this.#settling = null;
    // Back as it was: as if nothing had happened.
    if (state === this.#known) return;
    this.#settling = setTimeout(() => void this.#settled(), this.#options.settleMs ?? SETTLE_MS);
  }

  async #settled(): Promise<void> {
    const marks = this.#marks;
    if (marks === null) return;
    const state = await marks.now();
    if (this.#marks !== marks) return;
    if (state !== this.#seen) return this.#saw(state);
    this.#known = state;
    this.#options.onChange();
  }
}
