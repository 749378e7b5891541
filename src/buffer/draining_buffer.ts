import type { Delivery } from "../event/delivery.ts";
import type { TrackedRegion } from "../event/tracked_region.ts";
import type { DiskBuffer } from "./disk_buffer.ts";
import type { EventBuffer } from "./event_buffer.ts";

/** A buffer in memory behind what an earlier configuration left in one on disk: that is read first, and nothing is added to it. */
export class DrainingBuffer implements EventBuffer {
  readonly #disk: DiskBuffer;
  readonly #memory: EventBuffer;
  #isDrained = false;

  constructor(disk: DiskBuffer, memory: EventBuffer) {
    this.#disk = disk;
    this.#memory = memory;
    disk.end();
  }

  get eventCount(): number {
    return this.#memory.eventCount;
  }

  get pinnedBytes(): number {
    return this.#memory.pinnedBytes;
  }

  roomEvents(): number {
    return this.#memory.roomEvents();
  }

  hasRoom(): boolean {
    return this.#memory.hasRoom();
  }

  isBusy(): boolean {
    return false;
  }

  skip(_region: TrackedRegion): void {}

  waitForRoom(signal: AbortSignal): Promise<void> {
    return this.#memory.waitForRoom(signal);
  }

  write(delivery: Delivery): void {
    this.#memory.write(delivery);
  }

  read(): Delivery | null {
    return this.#isDrained ? this.#memory.read() : this.#disk.read();
  }

  async waitForData(): Promise<boolean> {
    if (!this.#isDrained) {
      if (await this.#disk.waitForData()) return true;
      this.#isDrained = true;
    }
    return await this.#memory.waitForData();
  }

  end(): void {
    this.#memory.end();
  }

  abandon(): void {
    this.#disk.abandon();
    this.#memory.abandon();
  }
}
