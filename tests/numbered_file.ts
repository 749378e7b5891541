import { appendFileSync, statSync, truncateSync } from "node:fs";
import { rotate } from "./support/scenario.ts";
import type { TempDir } from "./support/temp_dir.ts";

/** No broker takes these. */
export const isBad = (value: string) => Number(value) % 29 === 11;

/** A log file whose lines are numbered, and what it held. */
export class NumberedFile {
  readonly #path: string;
  count = 0;
  #rotatedCount = 0;
  /** Of the file that has the name now, with the bytes of each line. */
  #lines: { readonly value: string; readonly sizeBytes: number }[] = [];
  readonly cut = new Set<string>();

  constructor(dir: TempDir) {
    this.#path = dir.file("app.log");
  }

  write(count: number): void {
    let text = "";
    for (let i = 0; i < count; i++) {
      const value = String(this.count++);
      const line = `{"message":"${value}","k":"k${Number(value) % 7}","t":"${Number(value) % 2}"}\n`;
      this.#lines.push({ value, sizeBytes: line.length });
      text += line;
    }
    appendFileSync(this.#path, text);
  }

  /** As a power cut does: the end is gone, and others are written in its place. */
  back(count: number): void {
    const gone = this.#lines.splice(Math.max(1, this.#lines.length - count));
    for (const { value } of gone) this.cut.add(value);
    const sizeBytes = gone.reduce((sum, line) => sum + line.sizeBytes, 0);
    truncateSync(this.#path, statSync(this.#path).size - sizeBytes);
    this.write(1);
  }

  rotate(): void {
    rotate(this.#path, this.#rotatedCount++);
    this.#lines = [];
    this.write(1);
  }

  /** All that has to arrive. */
  expected(topicName: string): string[] {
    return this.#of(topicName).filter((value) => !isBad(value));
  }

  /** All that no broker takes and that has to be kept elsewhere. */
  refused(topicName: string): string[] {
    return this.#of(topicName).filter(isBad);
  }

  #of(topicName: string): string[] {
    return Array.from({ length: this.count }, (_, i) => String(i)).filter((value) =>
      !this.cut.has(value) && (topicName === "logs" || topicName === `t-${Number(value) % 2}`)
    );
  }
}
